"""Two lm-eval tasks with generated data: multiple choice, and worked answers to word problems.

Both are task files as people write them, with few-shot examples, data in JSON beside them, and all
that the model needs to read in them: no hub, no licence.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CHOICE", "GENERATION", "write_tasks"]

CHOICE, GENERATION = "sweep_choice", "sweep_generation"
N_SHOTS = {CHOICE: 2, GENERATION: 1}
N_EXAMPLES = 24
"""Examples that few-shot prompts draw from."""

_NAMES = ("Anna", "Ben", "Clara", "David", "Ella", "Frank", "Grace", "Hugo", "Iris", "Jonas")
_TOWNS = ("Oakford", "Millbrook", "Ashby", "Thornton", "Westmere", "Calder", "Brackley", "Fenwick")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_GOODS = ("apples", "pears", "pencils", "marbles", "stamps", "buttons", "candles", "shells")
_KINDS = {
    "a fruit": ("a ripe pear", "a bag of plums", "an apple", "two green bananas", "some cherries"),
    "a tool": ("a hammer", "a steel saw", "an old screwdriver", "a wrench", "a pair of pliers"),
    "a pet": ("a young cat", "a puppy", "a white rabbit", "a hamster in a cage", "a parrot"),
    "an instrument": ("a violin", "a wooden flute", "a guitar", "a trumpet", "a set of drums"),
    "something to read": ("a novel", "a newspaper", "a book of poems", "a comic", "a magazine"),
    "something to wear": ("a woollen scarf", "a hat", "a pair of gloves", "a coat", "a shirt"),
}
_QUESTIONS = (
    "{name} goes to the market in {town} on {day} to buy {kind}. What does {name} buy there?",
    "On {day} {name} is looking for {kind}. Which of these should {name} choose?",
    "A shop in {town} sells many things, and {name} needs {kind} before {day}. What is it?",
)


def write_tasks(
    folder: Path, *, n_choices: int, n_generations: int, max_tokens: int, sampler: str
) -> dict[str, Path]:
    """Write both tasks; return their files by name.

    Args:
        folder: Where; it is made.
        n_choices: Multiple-choice items, four choices each.
        n_generations: Word problems.
        max_tokens: Longest answer to a word problem.
        sampler: lm-eval's few-shot sampler: `default` draws examples for each item, `first_n`
            shows all items the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    few_shot = {"fewshot_config": {"sampler": sampler}}
    choice = few_shot | {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    generation = few_shot | {
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{worked}}",
        "generation_kwargs": {
            "until": ["Question:", "\n\n"],
            "do_sample": False,
            "max_gen_toks": max_tokens,
        },
        "filter_list": [
            {
                "name": "answer",
                "filter": [
                    {"function": "regex", "regex_pattern": r"The answer is (\d+)"},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [
            {"metric": "exact_match", "regexes_to_ignore": [r"(?s).*The answer is ", r"\.$"]}
        ],
    }
    return {
        CHOICE: _write_task(folder, CHOICE, choice, _choice_item, n_choices),
        GENERATION: _write_task(folder, GENERATION, generation, _problem, n_generations),
    }


def _write_task(
    folder: Path,
    name: str,
    config: dict[str, Any],
    make: Callable[[random.Random], dict[str, Any]],
    n_items: int,
) -> Path:
    found = _different(make, random.Random(name))
    for split, count in (("train", N_EXAMPLES), ("test", n_items)):
        lines = [json.dumps(next(found)) + "\n" for _ in range(count)]
        (folder / f"{name}_{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    data_files = {split: str(folder / f"{name}_{split}.jsonl") for split in ("train", "test")}
    whole = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": data_files},
        "test_split": "test",
        "fewshot_split": "train",
        "num_fewshot": N_SHOTS[name],
        "metadata": {"version": 1},
        **config,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return path


def _different(
    make: Callable[[random.Random], dict[str, Any]], rng: random.Random
) -> Iterator[dict[str, Any]]:
    """Yield documents with different questions."""
    seen = set()
    while True:
        document = make(rng)
        if document["question"] not in seen:
            seen.add(document["question"])
            yield document


def _choice_item(rng: random.Random) -> dict[str, Any]:
    kinds = rng.sample(sorted(_KINDS), 4)
    answer = rng.randrange(4)
    question = rng.choice(_QUESTIONS).format(
        name=rng.choice(_NAMES),
        town=rng.choice(_TOWNS),
        day=rng.choice(_DAYS),
        kind=kinds[answer],
    )
    choices = [rng.choice(_KINDS[kind]) for kind in kinds]
    return {"question": question, "choices": choices, "answer": answer}


def _problem(rng: random.Random) -> dict[str, Any]:
    name, friend = rng.sample(_NAMES, 2)
    goods, town = rng.choice(_GOODS), rng.choice(_TOWNS)
    has, buys, gives = rng.randint(10, 60), rng.randint(2, 30), rng.randint(2, 9)
    return {
        "question": f"{name} has {has} {goods} and buys {buys} more in {town}. Then {name} gives "
        f"{gives} of them to {friend}. How many {goods} does {name} have now?",
        "worked": f"{name} starts with {has} {goods}. After buying {buys} more there are "
        f"{has} + {buys} = {has + buys}. After giving {gives} to {friend} there are "
        f"{has + buys} - {gives} = {has + buys - gives}. The answer is {has + buys - gives}.",
        "answer": has + buys - gives,
    }
