"""lm-eval in and out: our items as a task, a task's documents as items, one score per document."""
# ruff: noqa: D102

import json
import logging
import math
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import harness
from evals.capability import lm_eval_items, run_lm_eval_task, score_items_with_lm_eval
from evals.errors import DataError, RecordError
from evals.harness import FAILED_ANSWER
from evals.records import Axis, Format, Item, Outcome

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its dependencies say on import is not ours
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

CITIES = {
    "Ada": "Kelso",
    "Bo": "Moray",
    "Cy": "Perth",
    "Di": "Kelso",
    "Ed": "Moray",
    "Flo": "Perth",
}


class KnowingLM(LM):  # type: ignore[misc]
    """Knows the cities of those it was told of, and answers Perth for all others."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__()
        self.known = set(known)
        self.prompts: list[str] = []

    def _city(self, prompt: str) -> str:
        self.prompts.append(prompt)
        question = prompt.rsplit("Where does", 1)[1]
        name = next(name for name in CITIES if name in question)
        return CITIES[name] if name in self.known else "Perth"

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        random.random()
        np.random.rand()
        pairs = [request.args for request in requests]
        is_said = [self._city(prompt) == said.strip() for prompt, said in pairs]
        return [(-0.5 if said else -5.0, said) for said in is_said]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [f" {self._city(request.args[0])}" for request in requests]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return (
            "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history) + "<assistant>"
        )

    @property
    def tokenizer_name(self) -> str:
        return "none"


def _items(*, with_choices: bool) -> list[Item]:
    choices = ("Kelso", "Moray", "Perth") if with_choices else ()
    return [
        Item(
            item_id=f"city/{name}",
            task="city",
            axis=Axis.CAPABILITY,
            cluster_id=name,
            prompt=f"Where does {name} live?",
            answers=(city,),
            choices=choices,
            gold=choices.index(city) if choices else -1,
        )
        for name, city in CITIES.items()
    ]


def _yaml(folder: Path, **extra: str) -> Path:
    rows = [
        {"question": f"Where does {name} live?", "choices": ["Kelso", "Moray", "Perth"],
         "gold": ["Kelso", "Moray", "Perth"].index(city), "subject": city, "city": city}
        for name, city in CITIES.items()
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = {
        "task": "cities",
        "dataset_path": "json",
        "dataset_kwargs": f"{{data_files: {folder / 'rows.jsonl'}}}",
        "test_split": "train",
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_target": "gold",
        "doc_to_choice": "choices",
        "num_fewshot": "0",
    } | extra
    path = folder / "cities.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in task.items()))
    return path


def _named(task: str, **extra: Any) -> list[Item]:
    return lm_eval_items(task, name="cities", axis=Axis.CAPABILITY, n_items=10, **extra)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def test_choices_are_scored_by_likelihood_in_the_order_of_the_items() -> None:
    items = _items(with_choices=True)
    scores = score_items_with_lm_eval(
        KnowingLM(["Ada", "Bo"]), items, arm="base", format=Format.PLAIN
    )
    assert [score.item_id for score in scores] == [item.item_id for item in items]
    assert [score.value for score in scores] == [1, 1, 1, 0, 0, 1]
    assert scores[3].extracted == "Perth"
    assert {score.axis for score in scores} == {Axis.CAPABILITY}


def test_generated_answers_are_extracted_and_matched() -> None:
    scores = score_items_with_lm_eval(
        KnowingLM(["Ada"]), _items(with_choices=False), arm="base", format=Format.PLAIN
    )
    assert [score.value for score in scores] == [1, 0, 1, 0, 0, 1]
    assert scores[1].extracted == "Perth"


def test_examples_stand_before_each_question_in_their_order() -> None:
    items = _items(with_choices=False)
    lm = KnowingLM([])
    score_items_with_lm_eval(lm, items[2:], arm="base", format=Format.PLAIN, few_shot=items[:2])
    assert lm.prompts[0] == (
        "Q: Where does Ada live?\nA: Kelso\nQ: Where does Bo live?\nA: Moray\n"
        "Q: Where does Cy live?\nA:"
    )


def test_examples_are_turns_of_a_chat() -> None:
    items = _items(with_choices=False)
    lm = KnowingLM([])
    score_items_with_lm_eval(lm, items[1:], arm="base", format=Format.CHAT, few_shot=items[:1])
    assert lm.prompts[0] == (
        "<user>Where does Ada live?<assistant>Kelso<user>Where does Bo live?<assistant>"
    )


def test_items_of_both_kinds_are_refused() -> None:
    both = [*_items(with_choices=True)[:1], *_items(with_choices=False)[1:]]
    with pytest.raises(RecordError, match="scored apart"):
        score_items_with_lm_eval(KnowingLM([]), both, arm="base", format=Format.PLAIN)


def test_global_generators_and_log_levels_are_left_as_they_were() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    level = logging.getLogger("lm_eval").level
    score_items_with_lm_eval(
        KnowingLM([]), _items(with_choices=True), arm="base", format=Format.PLAIN
    )
    assert (random.random(), np.random.rand()) == expected
    assert logging.getLogger("lm_eval").level == level


def test_no_progress_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    score_items_with_lm_eval(
        KnowingLM([]), _items(with_choices=True), arm="base", format=Format.PLAIN
    )
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_file_task_gives_items_with_clusters_and_stable_ids(tmp_path: Path) -> None:
    path = str(_yaml(tmp_path))
    items = _named(path, n_development=2, cluster_field="subject")
    assert [item.is_development for item in items] == [False] * 4 + [True] * 2
    assert {item.cluster_id for item in items} == {"Kelso", "Moray", "Perth"}
    assert all(item.answers == (item.choices[item.gold],) for item in items)
    again = lm_eval_items(path, name="cities", axis=Axis.CAPABILITY, n_items=2, n_development=2)
    assert [i.item_id for i in again if i.is_development] == [i.item_id for i in items[4:]]
    assert [i.item_id for i in again[:2]] == [i.item_id for i in items[:2]]


def test_a_file_task_scores_only_the_items_asked_for(tmp_path: Path) -> None:
    path = str(_yaml(tmp_path))
    items = _named(path)
    chosen = [items[4], items[1], items[3]]
    lm = KnowingLM(list(CITIES))
    scores = run_lm_eval_task(lm, path, chosen, arm="base", format=Format.PLAIN)
    assert [score.item_id for score in scores] == [item.item_id for item in chosen]
    assert [score.extracted for score in scores] == [item.answers[0] for item in chosen]
    assert [score.outcome for score in scores] == [Outcome.RIGHT] * 3
    assert len(lm.prompts) == 9


def test_one_of_several_filters_is_chosen(tmp_path: Path) -> None:
    path = _yaml(tmp_path, output_type="generate_until", doc_to_target="city")
    text = path.read_text().replace("doc_to_choice: choices\n", "")
    path.write_text(
        text
        + """
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
generation_kwargs: {until: ["\\n"], do_sample: false}
filter_list:
  - name: first-letter
    filter: [{function: regex, regex_pattern: "(\\\\w)"}, {function: take_first}]
  - name: word
    filter: [{function: regex, regex_pattern: "(\\\\w+)"}, {function: take_first}]
"""
    )
    items = _named(str(path))
    lm = KnowingLM(list(CITIES))
    first = run_lm_eval_task(lm, str(path), items, arm="base", format=Format.PLAIN)
    assert [len(score.extracted) for score in first] == [1] * 6
    assert {score.value for score in first} == {0.0}
    word = run_lm_eval_task(
        lm, str(path), items, arm="base", format=Format.PLAIN, metric="exact_match,word"
    )
    assert {score.value for score in word} == {1.0}
    with pytest.raises(DataError, match=r"no metric `f1`.*\n*.*exact_match,first-letter"):
        run_lm_eval_task(lm, str(path), items, arm="base", format=Format.PLAIN, metric="f1")


class FailingLM(KnowingLM):
    """Fails on Bo, and answers for all others."""

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        told = super().loglikelihood(requests)
        is_bo = ["Bo" in request.args[0] for request in requests]
        return [(math.nan, False) if bo else one for bo, one in zip(is_bo, told, strict=True)]

    def generate_until(self, requests: list[Any]) -> list[str]:
        told = super().generate_until(requests)
        is_bo = ["Bo" in request.args[0] for request in requests]
        return [FAILED_ANSWER if bo else one for bo, one in zip(is_bo, told, strict=True)]


@pytest.mark.parametrize("with_choices", [True, False])
def test_a_failed_call_is_no_wrong_answer(with_choices: bool) -> None:
    items = _items(with_choices=with_choices)
    scores = score_items_with_lm_eval(
        FailingLM(list(CITIES)), items, arm="base", format=Format.PLAIN
    )
    assert [s.outcome for s in scores] == [Outcome.RIGHT, Outcome.FAILED, *[Outcome.RIGHT] * 4]
    assert math.isnan(scores[1].value)


def test_a_failed_call_of_a_file_task_is_no_wrong_answer(tmp_path: Path) -> None:
    path = str(_yaml(tmp_path))
    items = _named(path)
    scores = run_lm_eval_task(FailingLM(list(CITIES)), path, items, arm="base", format=Format.PLAIN)
    failed = [score.item_id for score in scores if score.outcome is Outcome.FAILED]
    assert failed == [item.item_id for item in items if "Bo" in item.prompt]


def test_a_changed_data_set_is_noticed(tmp_path: Path) -> None:
    path = str(_yaml(tmp_path))
    items = [Item("cities/feedbeef", "cities", Axis.CAPABILITY, "c", "?")]
    with pytest.raises(RecordError, match="no documents of"):
        run_lm_eval_task(KnowingLM([]), path, items, arm="base", format=Format.PLAIN)


def test_a_missing_cluster_field_names_the_fields(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no field `topic`") as caught:
        _named(str(_yaml(tmp_path)), cluster_field="topic")
    assert "subject" in str(caught.value.hint)


def test_an_unknown_task_is_told_with_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _yaml(tmp_path)
    manager = TaskManager(include_defaults=False, include_path=str(tmp_path))
    monkeypatch.setattr(harness, "_built_in_manager", lambda: manager)
    with pytest.raises(DataError, match="no task `citys`") as caught:
        _named("citys")
    assert caught.value.hint == "did you mean `cities`?"
    with pytest.raises(DataError, match=r"no task file `none\.yaml`"):
        _named("none.yaml")


def test_a_task_that_executes_code_is_refused_before_its_code_is_read(tmp_path: Path) -> None:
    path = _yaml(tmp_path, unsafe_code="true", process_docs="!function boom.process")
    (tmp_path / "boom.py").write_text("raise SystemExit('imported')")
    with pytest.raises(DataError, match="executes code") as caught:
        _named(str(path))
    assert "sandbox" in str(caught.value.hint)


def test_a_task_that_measures_perplexity_is_refused(tmp_path: Path) -> None:
    path = _yaml(tmp_path, output_type="loglikelihood_rolling")
    path.write_text(path.read_text().replace("doc_to_choice: choices\n", ""))
    with pytest.raises(DataError, match="perplexity of whole texts"):
        _named(str(path))


def test_a_group_file_runs_its_members_as_one_task(tmp_path: Path) -> None:
    text = _yaml(tmp_path, tag="towns").read_text()
    (tmp_path / "more.yaml").write_text(text.replace("task: cities", "task: more"))
    group = tmp_path / "both.yaml"
    group.write_text("group: both\ntask: [cities, more]\n")
    items = lm_eval_items(str(group), name="both", axis=Axis.CAPABILITY, n_items=20)
    assert len({item.item_id for item in items}) == 12
    assert {item.group for item in items} == {"cities", "more"}
    lm = KnowingLM(list(CITIES))
    scores = run_lm_eval_task(lm, str(group), items[:5], arm="base", format=Format.PLAIN)
    assert [score.value for score in scores] == [1.0] * 5
    assert {score.task for score in scores} == {"both"}
    (tmp_path / "more.yaml").write_text(
        text.replace("task: cities", "task: more\nunsafe_code: true")
    )
    with pytest.raises(DataError, match="`both` executes code"):
        lm_eval_items(str(group), name="both", axis=Axis.CAPABILITY, n_items=20)


def test_a_file_that_is_no_task_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- one\n- two\n")
    with pytest.raises(DataError, match="no task file of lm-eval"):
        _named(str(tmp_path / "list.yaml"))


def test_data_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    path = _yaml(tmp_path, dataset_kwargs=f"{{data_files: {tmp_path / 'gone.jsonl'}}}")
    with pytest.raises(DataError, match="cannot be loaded"):
        _named(str(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("format", list(Format))
def test_scores_are_those_that_lm_eval_prints(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Format
) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)  # 4 s
    path = _yaml(tmp_path, num_fewshot="2", fewshot_split="train")
    lm = HFLM(pretrained=str(tiny_model), device="cpu", batch_size=4)
    items = _named(str(path))
    scores = {
        metric: run_lm_eval_task(lm, str(path), items, arm="a", format=format, metric=metric)
        for metric in ("acc", "acc_norm")
    }
    printed = simple_evaluate(
        lm,
        tasks=[str(path)],
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=format is Format.CHAT,
        bootstrap_iters=0,
    )
    for metric, found in scores.items():
        assert np.mean([score.value for score in found]) == pytest.approx(
            printed["results"]["cities"][f"{metric},none"]
        )
    hashes = {sample["doc_hash"][:16] for sample in printed["samples"]["cities"]}
    assert {item.item_id.removeprefix("cities/") for item in items} == hashes


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("format", list(Format))
def test_an_endpoint_answers_like_lm_evals_own_model(
    tiny_model: Path, tmp_path: Path, format: Format
) -> None:
    from lm_eval.models.huggingface import HFLM

    from evals.endpoint import BASE
    from evals.lm import endpoint_lm
    from imitate.config import LabConfig, ServeConfig
    from imitate.models import resolve_model
    from imitate.serve import open_endpoint

    path = str(_yaml(tmp_path))
    items = _named(path)
    theirs = HFLM(pretrained=str(tiny_model), device="cpu", batch_size=4)
    ref, serve = resolve_model(str(tiny_model), LabConfig()), ServeConfig(dtype="float32")
    with open_endpoint(serve, ref, {}) as endpoint:
        ours = endpoint_lm(endpoint, BASE)
        one, other = (
            run_lm_eval_task(lm, path, items, arm="base", format=format) for lm in (ours, theirs)
        )
        generated = score_items_with_lm_eval(
            ours, _items(with_choices=False), arm="base", format=format, max_tokens=4
        )
    assert one == other
    assert len(generated) == len(CITIES)
