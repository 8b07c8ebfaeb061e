"""Cells that hold what is served to what was trained: the reference in PEFT, and the proof."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.adapters import AGREEMENT, compare_backends, prove_adapters_act
from evals.endpoint import BASE, Endpoint, Sampling, TokenLogprobs, require_scored
from evals.errors import ModelError
from evals.harness import hf_model
from evals.lm import endpoint_lm
from evals.records import Example, Format, Outcome, Score, read_records
from imitate.engine import Engine
from imitate.jsonio import read_json, write_json
from imitate.models import choose_dtype, resolve_model
from imitate.plan import N_PROVED, Cell
from imitate.stages.answering import answered_items, ask_by_lm_eval, few_shot_items
from imitate.stages.training import response_pair
from imitate.stages.workplace import Workplace

__all__ = ["write_proof", "write_reference"]

LEAST_SHIFT = 1e-5
"""Smallest shift of an adapter in process, in nats per token: here the base never differs from
itself, so whatever is above rounding in float64 comes from the adapter."""

N_GREEDY_TOKENS = 32
"""Longest greedy answer that is compared, in tokens."""
N_SCORED = 40
"""Items on which lm-eval's own model is held against the server."""
BATCH_SIZE = 16

Pairs = list[tuple[str, str]]


def write_reference(cell: Cell, place: Workplace) -> None:
    """Write how base and adapter score fixed texts in PEFT, unmerged, in this process.

    The texts are the teacher's responses and what base and adapter themselves say, greedily.
    """
    assert cell.adapter, cell
    engine = place.in_process()
    examples = _examples(cell, place)
    pairs = [response_pair(engine, example) for example in examples]
    pairs += [pair for name in (BASE, cell.adapter) for pair in _said(engine, name, examples)]
    scores = {
        side: [_as_json(one) for one in engine.token_logprobs(name, pairs)]
        for side, name in (("base", BASE), ("adapter", cell.adapter))
    }
    told = {"pairs": pairs, "scores": scores, "lm_eval": _scored_by_hf(cell, place, engine)}
    write_json(place.folder / "reference.json", told)


def write_proof(cell: Cell, place: Workplace) -> None:
    """Prove on examples of the teacher's that an adapter acts as it is served.

    Raises:
        ModelError: It does not, or not as in PEFT, or the base changes beside it: nothing that
            follows would count.
    """
    assert cell.adapter, cell
    endpoint = place.endpoint()
    if len(cell.inputs) > 2:
        reference = read_json(place.input(cell.inputs[2]) / "reference.json")
        told = _proved_on_server(cell, place, endpoint, reference)
    else:
        pairs = [response_pair(endpoint, example) for example in _examples(cell, place)]
        (proof,) = prove_adapters_act(
            endpoint, pairs, adapters=[cell.adapter], least_shift=LEAST_SHIFT
        )
        told = dataclasses.asdict(proof)
    del told["adapter"]  # cells with the same adapter share their work
    write_json(place.folder / "proof.json", told)


def _proved_on_server(
    cell: Cell, place: Workplace, endpoint: Endpoint, reference: dict[str, Any]
) -> dict[str, Any]:
    """Return proof and agreement of an adapter and its base behind a server."""
    assert cell.adapter, cell
    pairs: Pairs = [(context, text) for context, text in reference["pairs"]]
    bound, tie_bound = AGREEMENT[_dtype(cell, place)]
    agreement = {}
    for side, name, words in (
        ("base", BASE, f"{cell.group} beside its adapters"),
        ("adapter", cell.adapter, cell.adapter.removeprefix("train/")),
    ):
        expected = [_from_json(one) for one in reference["scores"][side]]
        served = endpoint.token_logprobs(name, pairs)
        found = compare_backends(words, expected, served, bound=bound, tie_bound=tie_bound)
        agreement[side] = dataclasses.asdict(found)
    (proof,) = prove_adapters_act(endpoint, pairs, adapters=[cell.adapter], most_drift=bound)
    scored = _scored_on_server(cell, place, endpoint, reference["lm_eval"])
    return dataclasses.asdict(proof) | {
        "agreement": agreement | {"bound": bound, "tie_bound": tie_bound, "lm_eval": scored}
    }


def _examples(cell: Cell, place: Workplace) -> list[Example]:
    return read_records(place.input(cell.inputs[0]) / "train.parquet", Example)[:N_PROVED]


def _said(engine: Engine, name: str, examples: Sequence[Example]) -> Pairs:
    """Return the prompts with what a model says to them, greedily."""
    contexts = [response_pair(engine, example)[0] for example in examples]
    asked = [context for context in contexts if context]
    answers = engine.generate(name, asked, Sampling(N_GREEDY_TOKENS))
    return [(c, answer.text) for c, answer in zip(asked, answers, strict=True) if answer.text]


def _dtype(cell: Cell, place: Workplace) -> str:
    """Return the dtype whose rounding is allowed; of servers that are not ours, the coarser."""
    config = place.plan.config
    if config.serve.backend == "endpoint":
        return "bfloat16"
    ref = resolve_model(cell.models[0], config.lab)
    return str(choose_dtype(config.serve.dtype, ref)).removeprefix("torch.")


def _scored_by_hf(cell: Cell, place: Workplace, engine: Engine) -> dict[str, Any] | None:
    """Return outcomes by lm-eval's own `hf` model, for base and adapter."""
    if not cell.params["scored"]:
        return None
    assert cell.adapter, cell
    found = {}
    for side, name in (("base", BASE), ("adapter", cell.adapter)):
        lm = hf_model(engine.acting(name), engine.tokenizer, batch_size=BATCH_SIZE)
        found[side] = _outcomes(lm, cell.params["scored"], place)
    return {"task": cell.params["scored"], **found}


def _scored_on_server(
    cell: Cell, place: Workplace, endpoint: Endpoint, by_hf: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return the scores of the same items by `hf` and behind the server, for base and adapter."""
    if by_hf is None:
        return None
    assert cell.adapter, cell
    told: dict[str, Any] = {"task": by_hf["task"]}
    for side, name in (("base", BASE), ("adapter", cell.adapter)):
        here = _outcomes(endpoint_lm(endpoint, name), by_hf["task"], place)
        there = by_hf[side]
        told[side] = {
            "hf": sum(there) / len(there),
            "served": sum(here) / len(here),
            "same": sum(a == b for a, b in zip(here, there, strict=True)) / len(here),
            "n": len(here),
        }
    return told


def _outcomes(lm: Any, task_name: str, place: Workplace) -> list[float]:
    """Return a model's score on each of a task's first items, asked in the plain format.

    Raises:
        ModelError: An item failed: there is nothing to compare then.
    """
    task, items = place.plan.task(task_name), place.items(task_name)
    shown = few_shot_items(items, task.few_shot)
    asked = answered_items(items, task.few_shot)[:N_SCORED]
    scores: list[Score] = ask_by_lm_eval(lm, task, asked, shown, Format.PLAIN)
    if failed := [score.item_id for score in scores if score.outcome is Outcome.FAILED]:
        raise ModelError(f"lm-eval could not score {len(failed)} items, such as `{failed[0]}`")
    return [score.value for score in scores]


def _as_json(scored: TokenLogprobs) -> dict[str, Any]:
    (whole,) = require_scored([scored])
    fields = ("logprobs", "starts", "is_top", "behind")
    return {field: getattr(whole, field).tolist() for field in fields}


def _from_json(told: dict[str, Any]) -> TokenLogprobs:
    return TokenLogprobs(
        np.array(told["logprobs"], dtype=np.float64),
        np.array(told["starts"], dtype=np.int64),
        np.array(told["is_top"], dtype=np.bool_),
        np.array(told["behind"], dtype=np.float64),
    )
