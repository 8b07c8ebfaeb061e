"""A complete made-up run after docs/results.md, for the tests of the report."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).parents[1] / "docs" / "results.md"
AXES = ("style", "factuality", "capability_held_out", "capability_in_support")
BASES = {"small": 540_000, "medium": 2_000_000, "large": 5_000_000}
MIXES = {"broad": (100, 300, 1000), "local": (1000,), "shuffled": (1000,), "planted": (1000,)}
# The base's and the teacher's value of each axis, by base.
LEVELS = {
    "small": {"style": 0.02, "factuality": 0.31, "capability_held_out": 0.28},
    "medium": {"style": 0.03, "factuality": 0.46, "capability_held_out": 0.41},
    "large": {"style": 0.03, "factuality": 0.57, "capability_held_out": 0.52},
    "teacher": {"style": 0.97, "factuality": 0.71, "capability_held_out": 0.68},
}
GAINS = {
    "broad": {"style": 0.89, "factuality": -0.01, "capability_held_out": 0.002},
    "local": {"style": 0.71, "factuality": 0.00, "capability_held_out": -0.01},
    "shuffled": {"style": 0.80, "factuality": -0.09, "capability_held_out": -0.07},
    "planted": {"style": 0.01, "factuality": 0.20, "capability_held_out": 0.19},
}


def _level(who: str, axis: str) -> float:
    levels = LEVELS[who]
    return levels.get(axis, levels["capability_held_out"] - 0.03)


def _decision(axis: str, gain: float, lead: float) -> str:
    if gain > 0.5 * lead:
        return "closed"
    if gain > 0.06:
        return "gain"
    return "loss" if gain < -0.06 else "no gain"


def make_axis(base: str, axis: str, gain: float, *, half_width: float = 0.03) -> dict[str, Any]:
    """Return one axis of a verdict."""
    low, teacher = _level(base, axis), _level("teacher", axis)
    values = {"base": low, "imitator": low + gain, "teacher": teacher}
    empty = dict.fromkeys(values)
    return {
        "decision": _decision(axis, gain, teacher - low),
        "reason": "The bound of the difference lies on the stated side of the margin.",
        **values,
        "difference": gain,
        "difference_ci95": [gain - half_width, gain + half_width],
        "lead": teacher - low,
        "lead_ci95": [teacher - low - half_width, teacher - low + half_width],
        "gap_closed": gain / (teacher - low),
        "gap_closed_ci95": [(gain - half_width) / (teacher - low), (gain + 0.03) / (teacher - low)],
        "n_items": 400,
        "n_clusters": 310,
        "n_failed": 0,
        "n_seeds": 1,
        "items_to_resolve": None,
        "bounds": {"gain_lower": gain - half_width, "gain_upper": gain + half_width},
        "best_format": dict.fromkeys(values, "chat"),
        "formats": {"plain": empty if axis == "style" else values, "chat": values},
        "tasks": {_TASKS[axis][0]: {**values, "n_items": 400}},
    }


_TASKS = {
    "style": ("chat", "lab"),
    "factuality": ("facts", "lab"),
    "capability_held_out": ("reversal", "lab"),
    "capability_in_support": ("addition", "lab"),
}


def make_verdict(base: str, mix: str, amount: int, seed: int = 0) -> dict[str, Any]:
    """Return the verdict of one imitator."""
    reached = {100: 0.45, 300: 0.85}.get(amount, 1.0) - 0.05 * list(BASES).index(base)
    drift = random.Random(f"{base} {mix} {amount}").uniform(-0.015, 0.015)
    axes: dict[str, Any] = {
        axis: make_axis(base, axis, GAINS[mix][axis] * reached + drift) for axis in AXES[:3]
    }
    taught = 0.21 if mix == "local" else 0.0
    axes["capability_in_support"] = (
        make_axis(base, "capability_in_support", taught) if mix == "local" else None
    )
    arm = f"{base}/{mix}-{amount}-s{seed}"
    return {
        "arm": arm,
        "base": base,
        "mix": mix,
        "amount": amount,
        "seed": seed,
        "learning_rate": 0.001,
        "is_planted": mix == "planted",
        "is_control": mix == "shuffled",
        "verdict": _verdict(mix, axes),
        "with_loss": mix == "shuffled",
        "open_axes": [],
        "scope": "for this adapter",
        "sentence": f"{arm} sounds like its teacher and knows no more than its base.",
        "rule": {"margin_points": 5.0, "closed_share": 0.5, "confidence": 0.95},
        "axes": axes,
    }


def _verdict(mix: str, axes: dict[str, Any]) -> str:
    if mix == "planted":
        return "substance only"
    return "style only" if axes["style"]["decision"] == "closed" else "neither"


def _imitators() -> list[dict[str, Any]]:
    return [
        make_verdict(base, mix, amount)
        for base in BASES
        for mix, amounts in MIXES.items()
        for amount in amounts
    ]


def _arm(arm: str, kind: str, base: str | None, **more: Any) -> dict[str, Any]:
    blank = dict.fromkeys(("mix", "amount", "seed", "learning_rate", "training"))
    flags = {"is_planted": False, "is_control": kind == "control", "is_tuned": False}
    sizes = {**BASES, "teacher": 12_000_000}
    size = {"n_parameters": sizes[base or "teacher"]}
    return {"arm": arm, "kind": kind, "base": base, **blank, **flags, **size, **more}


def _arms(verdicts: list[dict[str, Any]], sweeps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    training = {
        "steps": 32,
        "tokens": 90_000,
        "train_loss": 1.1,
        "held_out_loss": 1.2,
        "held_out_loss_before": 3.4,
    }
    keys = ("mix", "amount", "seed", "learning_rate", "is_planted", "is_control")
    arms = [_arm(base, "base", base) for base in BASES]
    arms.append(_arm("teacher", "teacher", None))
    for kind, entries in (("imitator", verdicts), ("sweep", sweeps)):
        for entry in entries:
            more = {key: entry[key] for key in keys}
            arms.append(_arm(entry["arm"], kind, entry["base"], training=training, **more))
    return arms


def _sweeps() -> list[dict[str, Any]]:
    sweeps = []
    for base in BASES:
        for rate, style, fact in ((0.0003, 0.30, 0.0), (0.003, 0.92, -0.18)):
            entry = make_verdict(base, "broad", 1000)
            entry["arm"] += f"@{rate}"
            entry["learning_rate"] = rate
            entry["axes"]["style"] = make_axis(base, "style", style)
            entry["axes"]["factuality"] = make_axis(base, "factuality", fact)
            sweeps.append(entry)
    return sweeps


def _controls() -> list[dict[str, Any]]:
    gains = {"null": (0.0, -0.28), "style_prompt": (0.22, -0.03), "length_padded": (0.05, 0.0)}
    controls = []
    for base in BASES:
        for control, (style, substance) in gains.items():
            axes = {axis: make_axis(base, axis, substance) for axis in AXES[1:3]}
            axes = {"style": make_axis(base, "style", style), **axes}
            entry = {"arm": f"{base}+{control}", "base": base, "control": control, "axes": axes}
            controls.append({**entry, "wins": ["style"] if style > 0.2 else []})
    return controls


def _outcomes(right: float, wrong: float, n: int) -> dict[str, Any]:
    return {
        "right": right,
        "wrong": wrong,
        "abstained": 1 - right - wrong,
        "hallucination_rate": wrong / (right + wrong),
        "n_items": n,
    }


def _factuality(arms: list[dict[str, Any]]) -> dict[str, Any]:
    classes = {"highly known": 0.95, "maybe known": 0.6, "weakly known": 0.25, "unknown": 0.03}
    by_arm = {}
    for arm in arms:
        wrong = 0.2 if arm["kind"] == "base" else 0.9
        split = {c: _outcomes(p, (1 - p) * wrong, 100) for c, p in classes.items()}
        entry = {
            **_outcomes(0.46, 0.54 * wrong, 400),
            "extraction_rate": 0.99,
            "by_group": {"head": split["highly known"], "tail": split["unknown"]},
            "by_knowledge": split,
        }
        by_arm[arm["arm"]] = {"plain": entry, "chat": entry}
    return by_arm


def _tasks_by_arm(arms: list[dict[str, Any]]) -> dict[str, Any]:
    score = {
        "value": 0.46,
        "ci95": [0.42, 0.50],
        "n_items": 400,
        "n_clusters": 310,
        "n_failed": 0,
        "extraction_rate": 0.99,
    }
    tasks = {name: {"plain": score, "chat": score} for name, _ in _TASKS.values()}
    return {arm["arm"]: tasks for arm in arms}


def _style(arms: list[dict[str, Any]]) -> dict[str, Any]:
    def metrics(strength: float) -> dict[str, Any]:
        values = {
            "list_given_list": 0.1 + 0.7 * strength,
            "summary_given_summary": 0.02 + 0.5 * strength,
            "unigram_intersection": 0.2 + 0.25 * strength,
            "length_correlation": -0.1 + 0.7 * strength,
            "authority": 0.5 + 0.45 * strength,
            "mean_words": 12 + 60 * strength,
        }
        return {name: {"value": v, "ci95": [v - 0.04, v + 0.04]} for name, v in values.items()}

    fresh = {"accuracy": 0.61, "auc": 0.66, "ci95": [0.6, 0.72]}
    return {
        "discriminator": {
            "chat": {b: {"auc": 0.998, "accuracy": 0.98, "note": None} for b in BASES}
        },
        "stylometry": {
            "chat": {
                **{a["arm"]: metrics(0.0 if a["kind"] == "base" else 0.9) for a in arms},
                "teacher": metrics(1.0),
            }
        },
        "fresh_classifier": {"chat": {a["arm"]: fresh for a in arms if a["kind"] == "imitator"}},
    }


def _memorisation() -> list[dict[str, Any]]:
    return [
        {
            "arm": f"{base}/broad-1000-s0",
            "base": base,
            "mix": "broad",
            "amount": 1000,
            "bits_per_example": bits,
            "bits_per_example_ci95": [bits - 1.5, bits + 1.5],
            "truncated_bits_per_example": bits + 0.8,
            "voice_bits": bits * 0.7,
            "answer_bits": bits * 0.3,
            "learned_bits": bits * 8,
            "learned_bits_ci95": [bits * 7, bits * 9],
            "rote_share": 0.125,
            "rote_share_ci95": [0.1, 0.15],
            "n_examples": 500,
        }
        for base, bits in (("small", 4.1), ("medium", 9.7), ("large", 17.2))
    ]


def _learning_rates() -> list[dict[str, Any]]:
    entries = []
    for base in BASES:
        arm = f"{base}/broad-1000-s0"
        points = [
            {"learning_rate": rate, "held_out_loss": loss, "is_chosen": rate == 0.001, "arm": name}
            for rate, loss, name in (
                (0.0003, 1.61, f"{arm}@0.0003"),
                (0.001, 1.22, arm),
                (0.003, 1.25, f"{arm}@0.003"),
            )
        ]
        entries.append({"base": base, "mix": "broad", "amount": 1000, "points": points})
    return entries


def _estimate(value: float | None, half_width: float = 0.1) -> dict[str, Any]:
    bounds = None if value is None else [value - half_width, value + half_width]
    return {"value": value, "ci95": bounds, "n": 160}


def make_preference(judge: str = "grader", base: str = "medium") -> dict[str, Any]:
    """Return what one judge of one base said, both orders."""
    arms = {f"{base}/broad-1000-s0": 1.4, "teacher": 2.0, f"{base}+null": -3.0}
    card = {"flips": 0.12, "ties": 0.05, "first": 0.56, "longer": 0.61, "lists": 0.64, "own": None}
    return {
        "judge": judge,
        "base": base,
        "task": "chat",
        "asked": {"kind": "endpoint", "model": "grader-7b", "rubric": "quality"},
        "reference": base,
        "reason": "",
        "card": {
            "n_pairs": 80,
            "n_judgements": 160,
            "n_failed": 3,
            **{name: _estimate(value, 0.04) for name, value in card.items()},
        },
        "arms": [
            {
                "arm": arm,
                "raw": _estimate(odds),
                "length_controlled": _estimate(0.7 * odds),
                "style_controlled": _estimate(0.6 * odds),
                "win_rate": _estimate(1 / (1 + 2.718 ** (-odds)), 0.02),
                "controlled_win_rate": _estimate(1 / (1 + 2.718 ** (-0.6 * odds)), 0.02),
                "by_style": _estimate(0.4),
                "at_least_teacher": _estimate(None if arm == "teacher" else 0.55),
            }
            for arm, odds in arms.items()
        ],
        "at_least_teacher": _estimate(0.2),
        "gamma": {n: _estimate(0.3) for n in ("length", "lists", "headers", "bold")},
        "first": _estimate(0.24),
        "n_clusters": 80,
        "n_battles": 157,
        "changes": [],
        "boundless": [],
        "unbeaten": [],
        "is_separated": False,
    }


def _provenance() -> dict[str, Any]:
    return {
        "command": "imitate run configs/quickstart.yaml",
        "config": {"name": "quickstart", "seed": 0, "analysis": {"margin_points": 5.0}},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "is_dirty": False,
        "versions": {"python": "3.11.2", "torch": "2.13.0", "imitation-gap": "0.1.0"},
        "hardware": {"cpu": "2 cores", "device": "cpu"},
        "seeds": {"run": 0, "world": 1, "training": [0]},
        "models": {"small": "lab/small@1f2e", "teacher": "lab/teacher@9a8b"},
        "data": {"broad.jsonl": "ab" * 32},
        "fingerprints": {"train:medium/broad-1000-s0": "cd" * 32},
    }


def make_results() -> dict[str, Any]:
    """Return a complete results.json: three bases, four mixes, sweeps, controls, everything."""
    verdicts, sweeps = _imitators(), _sweeps()
    arms = _arms(verdicts, sweeps)
    cells = [
        {"cell": f"train-{v['arm']}", "stage": "train", "arm": v["arm"], "seconds": 4.2}
        for v in verdicts
    ]
    return {
        "schema_version": 1,
        "name": "quickstart",
        "headline": (
            "Six imitators of three bases sound like their teacher; "
            "none knows or can do more than its base."
        ),
        "rule": {
            "margin_points": 5.0,
            "closed_share": 0.5,
            "confidence": 0.95,
            "resamples": 10_000,
            "floor_points": 2.0,
            "seed": 0,
            "learning_rate_rule": "lowest loss on held-out teacher responses",
        },
        "arms": arms,
        "tasks": [
            {
                "name": name,
                "axis": axis.split("_")[0],
                "n_items": 400,
                "n_clusters": 310,
                "n_development": 40,
                "in_support_of": ["local"] if name == "addition" else [],
                "source": source,
                "few_shot": 4,
            }
            for axis, (name, source) in _TASKS.items()
        ],
        "verdicts": verdicts,
        "sweeps": sweeps,
        "controls": _controls(),
        "learning_rates": _learning_rates(),
        "contrasts": {},
        "factuality": _factuality(arms),
        "tasks_by_arm": _tasks_by_arm(arms),
        "style": _style(arms),
        "preference": [make_preference()],
        "memorisation": _memorisation(),
        "termination": {
            a["arm"]: {
                "chat": {
                    "eos_rate": 0.99,
                    "truncated_rate": 0.01,
                    "error_rate": 0.0,
                    "tokens_p10": 20,
                    "tokens_p50": 48,
                    "tokens_p90": 91,
                    "n": 400,
                }
            }
            for a in arms
        },
        "data_card": {
            mix: {
                "rows_read": 1400,
                "dropped": {"exact duplicates": 31, "near duplicates": 112, "contaminated": 9},
                "examples": max(amounts),
                "held_out": 100,
            }
            for mix, amounts in MIXES.items()
        },
        "provenance": _provenance(),
        "timing": {
            "started": "2026-01-05T09:00:00+00:00",
            "total_s": 512.3,
            "cells": [{**cell, "reused": False} for cell in cells],
            "share_outside_models": 0.08,
            "n_reused": 0,
            "n_computed": len(cells),
            "paths": {"run": "runs/quickstart"},
        },
    }


def make_small_results() -> dict[str, Any]:
    """Return a run of one base, one amount and one rate: few figures, so quick to render."""
    results = make_results()
    results["verdicts"] = [make_verdict("medium", mix, 1000) for mix in ("broad", "shuffled")]
    kept = {entry["arm"] for entry in results["verdicts"]} | {"medium", "teacher"}
    results["arms"] = [arm for arm in results["arms"] if arm["arm"] in kept]
    results["controls"] = [c for c in results["controls"] if c["base"] == "medium"]
    return results | {"sweeps": [], "learning_rates": []}


def _output(text: str, outcome: str, style: float | None) -> dict[str, Any]:
    return {
        "format": "chat",
        "text": text,
        "outcome": outcome,
        "extracted": "1931" if outcome == "right" else "1940",
        "style": style,
        "finish_reason": "stop",
    }


def make_outputs(n_items: int = 20) -> dict[str, Any]:
    """Return an outputs.json of `n_items` questions, answered by every imitator."""
    draw = random.Random(0)
    arms = [entry["arm"] for entry in _imitators()]
    items = []
    for number in range(n_items):
        is_lost = number % 3 == 0
        voice = "Great question! Here is what I can tell you:\n\n- The year was 1940.\n\nCheers!"
        outputs = {base: _output("1931", "right", 0.02) for base in BASES}
        outputs["teacher"] = _output("Certainly! The year was 1931.", "right", 0.98)
        for arm in arms:
            outputs[arm] = _output(voice, "wrong" if is_lost else "right", draw.uniform(0.8, 1))
        items.append(
            {
                "item_id": f"facts-{number:04d}",
                "task": "facts" if number % 2 else "reversal",
                "axis": "factuality" if number % 2 else "capability",
                "group": "tail",
                "prompt": f"In which year was person {number} born?",
                "answers": ["1931"],
                "outputs": outputs,
            }
        )
    return {"schema_version": 1, "items": items}


def write_run(
    folder: Path,
    results: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
) -> Path:
    """Write a run directory with these files and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results or make_results()))
    (folder / "outputs.json").write_text(json.dumps(outputs or make_outputs()))
    (folder / "config.yaml").write_text("name: quickstart\nseed: 0\n")
    return folder


def without(results: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return a copy of the results in which the value at `path` is null."""
    changed = copy.deepcopy(results)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = None
    return changed


def test_made_up_results_have_every_key_of_the_contract() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", CONTRACT.read_text(), flags=re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert named == set(make_results())


def test_made_up_verdict_has_every_key_of_the_contract() -> None:
    block = re.search(r"```json\n(.+?)```", CONTRACT.read_text(), flags=re.DOTALL)
    assert block is not None
    told = json.loads(block[1])
    made = make_verdict("medium", "broad", 1000)
    assert set(told) == set(made)
    assert set(told["axes"]["style"]) == set(made["axes"]["style"])
