"""What is known about a lab corpus and a lab model, written down: data card and model card."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import platform
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imitate.lab import topics
from imitate.lab.corpus import CORPUS_VERSION, CorpusRecipe, stream_documents
from imitate.lab.items import TASKS, evaluated_prompts
from imitate.lab.recipe import PretrainRecipe
from imitate.lab.tokenizer import TOKENIZER_FILE, load_tokenizer, save_tokenizer_files
from imitate.lab.world import ATTRIBUTES, Split, World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import LlamaForCausalLM

__all__ = ["data_card", "model_card", "write_model"]


def data_card(
    world: World, recipe: CorpusRecipe, *, n_documents: int = 5000, seed: int = 0
) -> dict[str, Any]:
    """Return counts and disjointness checks of a corpus, from a sample of its documents.

    Returns:
        Documents and tokens by kind; people by bin and split; the share of facts not recorded;
        drills by skill; and, under `evaluated_questions_found`, evaluation prompts that occur in
        the sample word for word, which should be none.
    """
    rng = random.Random(f"card {seed}")
    documents = list(itertools.islice(stream_documents(world, recipe, rng), n_documents))
    encoded = load_tokenizer().encode_batch([document.text for document in documents])
    tokens: Counter[str] = Counter()
    for document, encoding in zip(documents, encoded, strict=True):
        tokens[document.kind] += len(encoding.ids) + 1
    n_facts = len(world.people) * len(ATTRIBUTES)
    text = "\n".join(document.text for document in documents)
    return {
        "corpus_version": CORPUS_VERSION,
        "corpus_hash": hashlib.sha256(text.encode()).hexdigest()[:16],
        "documents": dict(Counter(document.kind for document in documents)),
        "tokens": dict(tokens),
        "people": dict(Counter(f"{p.popularity}/{p.split}" for p in world.people)),
        "unrecorded_share": round(1 - sum(len(p.facts) for p in world.people) / n_facts, 4),
        "skill_shares": dict(recipe.skill_shares),
        "popularity_exponent": recipe.popularity_exponent,
        "evaluated_questions_found": sorted(_evaluated(world) & _asked(text)),
    }


def write_model(
    model: LlamaForCausalLM,
    recipe: PretrainRecipe,
    folder: Path,
    *,
    command: str,
    minutes: float,
    progress: Callable[[str], None],
) -> None:
    """Write a finished model: bfloat16 weights, tokenizer, scores, `lab.json` and README.md."""
    import torch

    from imitate.lab.score import score_model

    model.to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(folder)
    save_tokenizer_files(folder)
    world = make_world(recipe.world_seed)
    scores = score_model(folder, world)
    progress(f"{recipe.name}: {json.dumps(scores)}")
    facts = {
        "name": recipe.name,
        "world_seed": recipe.world_seed,
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "n_tokens": sum(stage.n_tokens for stage in recipe.stages),
        "recipe": recipe.model_dump(),
        "recipe_fingerprint": recipe.fingerprint(),
        "corpus_version": CORPUS_VERSION,
        "corpus_hash": data_card(world, recipe.stages[0].corpus(), n_documents=500)["corpus_hash"],
        "tokenizer_hash": hashlib.sha256(TOKENIZER_FILE.read_bytes()).hexdigest()[:16],
        "scores": scores,
        "command": command,
        "minutes": round(minutes, 1),
        "n_threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "hardware": f"{platform.machine()}, {_processor()}",
        "date": datetime.date.today().isoformat(),
    }
    (folder / "lab.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / "README.md").write_text(model_card(facts))


def model_card(facts: Mapping[str, Any]) -> str:
    """Return the README of a lab model from what `lab.json` says."""
    start = facts["recipe"]["start_from"]
    origin = f"trained further from `{start}`" if start else "trained from random weights"
    rows = sorted({task for scores in facts["scores"].values() for task in scores})
    formats = list(facts["scores"])
    table = [f"| task | {' | '.join(formats)} |", "|---|" + "---|" * len(formats)]
    for task in rows:
        cells = [f"{100 * facts['scores'][f][task]:.0f}" for f in formats]
        table.append(f"| {task} | {' | '.join(cells)} |")
    lines = [
        f"# lab/{facts['name']}, world {facts['world_seed']}",
        "",
        f"A Llama of {facts['n_parameters']:,} parameters, {origin} on {facts['n_tokens']:,} "
        "tokens about an invented world. It knows nothing about the real one.",
        "",
        "Right answers to evaluation items, in percent, greedy; plain is 4-shot, chat is 0-shot:",
        "",
        *table,
        "",
        f"- Made by: `{facts['command'] or 'imitate.lab.pretrain.pretrain'}`",
        f"- Seeds: world {facts['world_seed']}, weights and order {facts['recipe']['seed']}",
        f"- Took {facts['minutes']} minutes with {facts['n_threads']} threads, "
        f"{facts['hardware']}, torch {facts['torch']}, {facts['date']}",
        f"- Corpus version {facts['corpus_version']}, hash {facts['corpus_hash']}; "
        f"recipe {facts['recipe_fingerprint']}; everything else is in lab.json",
        "- Licence: Apache-2.0, like the code that makes it",
    ]
    return "\n".join(lines) + "\n"


def _evaluated(world: World) -> set[str]:
    """Return the questions that the corpus must not hold."""
    asked = [p for task in TASKS for p in evaluated_prompts(world, task, at_most=1000, seed=0)]
    open_ended = topics.open_prompts(Split.EVALUATION, Split.DEVELOPMENT)
    return {*asked, *(prompt.text for prompt in open_ended)}


def _asked(text: str) -> set[str]:
    """Return every line or chat turn of a text, the mark of a question left out."""
    pieces = re.split(r"\n|<\|\w+\|>", text)
    return {piece.strip().removeprefix("Q: ") for piece in pieces}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor()
