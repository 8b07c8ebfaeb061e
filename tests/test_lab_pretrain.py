"""A killed pretraining resumes exactly; a finished one is an ordinary checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import imitate.lab
from evals.errors import ConfigError, ModelError
from imitate.lab.card import data_card
from imitate.lab.pretrain import batch_tokens, new_model, pretrain, train_model
from imitate.lab.recipe import PretrainRecipe, load_recipe
from imitate.lab.score import score_model
from imitate.lab.world import make_world

RECIPES = Path(__file__).parents[1] / "configs" / "lab"
WEIGHTS = Path(imitate.lab.__file__).parent / "weights"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_recipe(**changes: object) -> PretrainRecipe:
    stage = {
        "learning_rate": 0.01,
        "embedding_learning_rate": 0.01,
        "shares": {"biography": 1.0, "facts_chat": 1.0},
        "skill_shares": {},
    }
    return PretrainRecipe.model_validate(
        {
            "name": "tiny",
            "world_seed": 1,
            "architecture": {"hidden_size": 32, "intermediate_size": 32, "n_layers": 1},
            "stages": [{**stage, "n_tokens": 2 * 256}, {**stage, "n_tokens": 6 * 256}],
            "n_batch_rows": 2,
            "n_block_tokens": 64,
            **changes,
        }
    )


def quiet(line: str) -> None:
    pass


def test_a_batch_depends_on_recipe_and_step_alone():
    world = make_world(1)
    recipe = tiny_recipe()
    assert torch.equal(batch_tokens(recipe, world, 3), batch_tokens(recipe, world, 3))
    assert not torch.equal(batch_tokens(recipe, world, 3), batch_tokens(recipe, world, 4))
    assert batch_tokens(recipe, world, 0).shape == (2, 64)


def test_a_killed_run_resumes_to_identical_weights(tmp_path):
    recipe = tiny_recipe()
    whole = new_model(recipe.architecture, recipe.seed)
    train_model(recipe, whole, checkpoint=tmp_path / "whole.pt", progress=quiet)
    seconds = [0.0]
    for stop_after in (3, 9, None):
        resumed = new_model(recipe.architecture, seed=99)
        if stop_after == 3:
            resumed = new_model(recipe.architecture, recipe.seed)
        checkpoint = tmp_path / "parts.pt"
        seconds.append(
            train_model(
                recipe, resumed, checkpoint=checkpoint, progress=quiet, stop_after=stop_after
            )
        )
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 4
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_training_lowers_the_loss(tmp_path):
    recipe = tiny_recipe(n_batch_rows=8)
    ids = batch_tokens(recipe, make_world(1), 0)
    losses = []
    for n_steps in (1, None):
        model = new_model(recipe.architecture, recipe.seed)
        stages = [stage.model_copy(update={"n_tokens": 30 * 512}) for stage in recipe.stages]
        longer = recipe.model_copy(update={"stages": tuple(stages)})
        checkpoint = tmp_path / f"{n_steps}.pt"
        train_model(longer, model, checkpoint=checkpoint, progress=quiet, stop_after=n_steps)
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    assert losses[1] < losses[0] - 1


def test_pretraining_writes_a_checkpoint_that_transformers_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("imitate.lab.score.score_model", lambda *_: {"plain": {"facts": 0.5}})
    folder = pretrain(tiny_recipe(), tmp_path, command="imitate lab pretrain x", progress=quiet)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype is torch.bfloat16
    facts = json.loads((folder / "lab.json").read_text())
    assert facts["world_seed"] == 1
    assert facts["n_tokens"] == 8 * 256
    assert "imitate lab pretrain x" in (folder / "README.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "lab.json",
        "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_a_missing_start_is_named_with_its_recipe(tmp_path):
    with pytest.raises(ModelError) as caught:
        pretrain(tiny_recipe(start_from="large"), tmp_path, progress=quiet)
    assert "imitate lab pretrain configs/lab/large.yaml" in str(caught.value)


def test_scores_refuse_a_model_of_another_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not the lab's own"):
        score_model(tmp_path, make_world(1))


def test_a_recipe_of_unknown_documents_names_the_known(tmp_path):
    text = tiny_recipe().model_dump_json().replace('"biography"', '"gossip"')
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert "gossip" in str(caught.value)
    assert "facts_chat" in str(caught.value)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_and_open_with_their_command(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert path.read_text().startswith(f"# imitate lab pretrain configs/lab/{path.name}\n")


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_shipped_models_know_the_head_better_than_the_tail(name):
    folder = WEIGHTS / name
    if not (folder / "model.safetensors").exists():
        pytest.skip(f"no weights of lab/{name} in this checkout")
    facts = json.loads((folder / "lab.json").read_text())
    scores = score_model(folder, make_world(facts["world_seed"]), n_items=90, tasks=("facts",))
    for by_task in scores.values():
        assert by_task["facts/head"] > by_task["facts/tail"] + 0.2


@pytest.mark.parametrize("name", ["small", "medium", "large", "teacher"])
def test_shipped_models_were_made_by_the_shipped_recipe_from_todays_corpus(name):
    path = WEIGHTS / name / "lab.json"
    if not path.exists():
        pytest.skip(f"no weights of lab/{name} in this checkout")
    facts = json.loads(path.read_text())
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert facts["recipe_fingerprint"] == recipe.fingerprint()
    card = data_card(make_world(recipe.world_seed), recipe.stages[0].corpus(), n_documents=500)
    assert facts["corpus_hash"] == card["corpus_hash"]
