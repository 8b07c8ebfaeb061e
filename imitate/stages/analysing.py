"""The last cell: everything that was measured -> `analysis.json`, `outputs.json` and `records/`."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from evals.power import MIN_CLUSTERS
from evals.records import (
    Axis,
    Completion,
    Format,
    Item,
    Judgement,
    Score,
    read_records,
    write_records,
)
from evals.stats import cluster_sums, share_interval
from imitate.analyse import Evidence, analyse_controls, analyse_verdicts, contrasts, headline
from imitate.config import TaskConfig
from imitate.describe import (
    describe_answers,
    describe_termination,
    group_by_knowledge,
)
from imitate.jsonio import plain, read_json, write_json
from imitate.plan import (
    TEACHER,
    Arm,
    ArmKind,
    Cell,
    Plan,
    Stage,
    source_params,
    unasked_formats,
)
from imitate.plan.arms import recorded_outputs
from imitate.stages.answering import answered_items
from imitate.stages.workplace import Workplace

__all__ = ["add_style", "write_analysis"]

N_SHOWN = 60
"""Items of a task in the report's browser of outputs."""


def write_analysis(cell: Cell, place: Workplace) -> None:
    """Write all of `results.json` but provenance and timing, and the outputs for the browser."""
    plan, config = place.plan, place.plan.config
    material = _Material(place)
    evidence = Evidence(plan, material.scores, material.items)
    place.report(0, 4, "verdicts")
    verdicts, sweeps = analyse_verdicts(evidence)
    place.report(1, 4, "controls")
    controls = analyse_controls(evidence)
    place.report(1, 4, "contrasts")
    arms = [_arm_entry(arm, plan, material, evidence) for arm in plan.arms]
    rates = {entry["arm"]: entry["learning_rate"] for entry in arms}
    # all seeds of a recipe have one rate, so it is also that of the verdict over them
    seeded = [entry["arm"] for entry in arms if entry["seed"] is not None]
    rates |= {arm.rpartition("-s")[0]: rates[arm] for arm in seeded}
    for entry in (*verdicts, *sweeps):
        entry["learning_rate"] = rates.get(entry["arm"])
    sizes = {entry["arm"]: entry["n_parameters"] for entry in arms if entry["kind"] == "base"}
    slopes = contrasts(evidence, sizes)
    place.report(1, 4, "descriptions")
    analysis = {
        "schema_version": 1,
        "name": config.name,
        "headline": headline(verdicts),
        "rule": {
            **config.analysis.model_dump(mode="json"),
            "seed": config.seed,
            "learning_rate_rule": "lowest loss on held-out teacher responses",
        },
        "arms": arms,
        "tasks": [_task_entry(task, place, material.items[task.name]) for task in config.tasks],
        "verdicts": verdicts,
        "sweeps": sweeps,
        "controls": controls,
        "learning_rates": _learning_rates(place),
        "contrasts": slopes,
        "factuality": material.factuality(),
        "tasks_by_arm": material.tasks_by_arm(),
        "style": material.style,
        "preference": material.preferences,
        "memorisation": _memorisation(place),
        "termination": describe_termination(material.generated()),
        "data_card": {
            mix: read_json(place.input(f"data/{mix}") / "card.json") for mix in config.mixes
        },
    }
    write_json(place.folder / "analysis.json", analysis)
    shown = {"schema_version": 1, "items": material.shown_outputs()}
    write_json(place.folder / "outputs.json", shown)
    material.write_records(place.folder / "records")


class _Material:
    """The records of all cells, read once, by arm."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.plan = place.plan
        self.items = {
            task.name: answered_items(place.items(task.name), task.few_shot)
            for task in self.plan.config.tasks
        }
        self.completions: dict[str, list[Completion]] = {}
        self.scores: dict[str, list[Score]] = {}
        self.judgements: dict[str, list[Judgement]] = {}
        self.preferences: list[Any] = []
        self.style: dict[str, Any] = {
            "discriminator": {},
            "stylometry": {},
            "fresh_classifier": {},
            "on_facts": {},
        }
        for arm in self.plan.arms:
            self._read_arm(arm)
        for cell in self.plan.cells:
            if cell.stage is Stage.STYLE:
                self._read_style(cell)
            if cell.stage is Stage.PREFER:
                self.preferences.append(read_json(place.input(cell.name) / "preference.json"))

    def write_records(self, folder: Path) -> None:
        """Write every record of the run, by kind, for whoever compares, rates or judges again."""
        folder.mkdir()
        write_records(folder / "items.parquet", chain(*self.items.values()), Item)
        for name, found, kind in (
            ("completions", self.completions, Completion),
            ("scores", self.scores, Score),
            ("judgements", self.judgements, Judgement),
        ):
            write_records(folder / f"{name}.parquet", chain(*found.values()), kind)
        compared = [
            one
            for cell in self.plan.cells
            if cell.stage is Stage.JUDGE
            for one in read_records(self.place.input(cell.name) / "judgements.parquet", Judgement)
        ]
        write_records(folder / "comparisons.parquet", compared, Judgement)

    def _read_arm(self, arm: Arm) -> None:
        for task in self.plan.config.tasks:
            for cell in self.plan.arm_cells(arm, task, Stage.GENERATE):
                path = self.place.input(cell.name) / "completions.parquet"
                found = [
                    dataclasses.replace(c, arm=arm.name) for c in read_records(path, Completion)
                ]
                self.completions.setdefault(arm.name, []).extend(found)
            for stage in (Stage.SCORE, Stage.CAPABILITY):
                for cell in self.plan.arm_cells(arm, task, stage):
                    self.scores.setdefault(arm.name, []).extend(_scores(self.place, cell, arm.name))

    def _read_style(self, cell: Cell) -> None:
        folder, base, task = self.place.input(cell.name), cell.params["base"], cell.params["task"]
        for score in read_records(folder / "scores.parquet", Score):
            name = f"{TEACHER}|{base}" if score.arm == TEACHER else score.arm
            self.scores.setdefault(name, []).append(dataclasses.replace(score, arm=name))
        for judgement in read_records(folder / "judgements.parquet", Judgement):
            self.judgements.setdefault(judgement.arm, []).append(judgement)
        described = read_json(folder / "style.json")
        add_style(self.style, task, base, described)

    def factuality(self) -> dict[str, Any]:
        """Return the fates of answers by arm and format, split by group and by knowledge."""
        tasks = [
            task.name
            for task in self.plan.config.tasks
            if task.axis is Axis.FACTUALITY and task.in_verdict
        ]
        items = [item for task in tasks for item in self.items[task]]
        known = {base.name: self._known(base.name, tasks, items) for base in self.plan.config.bases}
        return {
            arm.name: describe_answers(
                [s for s in self.scores.get(arm.name, ()) if s.task in tasks],
                items,
                known.get(arm.base or ""),
            )
            for arm in self.plan.arms
            if any(score.task in tasks for score in self.scores.get(arm.name, ()))
        }

    def _known(self, base: str, tasks: Sequence[str], items: Sequence[Item]) -> Any:
        scores = [
            score
            for task in tasks
            if f"knowledge/{base}/{task}" in self.place.done
            for score in _scores(
                self.place, self.plan.by_name[f"knowledge/{base}/{task}"], f"{base} draws"
            )
        ]
        return group_by_knowledge(scores, items) if scores else None

    def tasks_by_arm(self) -> dict[str, Any]:
        """Return every arm's value on every task in every format, with a clustered interval.

        The teacher's style has a value against each base, under `teacher|BASE`.
        """
        found: dict[str, Any] = {}
        for arm, scores in self.scores.items():
            groups: dict[tuple[str, Format], list[Score]] = {}
            for score in scores:
                if not score.is_development:
                    groups.setdefault((score.task, score.format), []).append(score)
            for (task, format_), mine in sorted(groups.items()):
                found.setdefault(arm, {}).setdefault(task, {})[format_.value] = _task_value(mine)
        return found

    def generated(self) -> dict[str, list[Completion]]:
        """Return what models said here: nobody knows how other texts ended."""
        told = {arm.name for arm in self.plan.arms if arm.control in ("null", "length_padded")}
        told |= {arm.name for arm in self.plan.arms if recorded_outputs(self.plan.config, arm)}
        return {arm: said for arm, said in self.completions.items() if arm not in told}

    def shown_outputs(self) -> list[dict[str, Any]]:
        """Return some items of every task, drawn by the run's seed, with what each arm said."""
        shown: dict[str, dict[str, Any]] = {}
        rng = random.Random(f"shown {self.plan.config.seed}")
        for task in self.plan.config.tasks:
            scored = [item for item in self.items[task.name] if not item.is_development]
            for item in rng.sample(scored, min(N_SHOWN, len(scored))):
                shown[item.item_id] = {
                    "item_id": item.item_id,
                    "task": item.task,
                    "axis": item.axis.value,
                    "group": item.group,
                    "prompt": item.prompt,
                    "answers": list(item.answers),
                    "outputs": {},
                }
        for arm in self.plan.arms:
            if arm.kind is not ArmKind.SWEEP:
                self._show(arm.name, shown)
        return list(shown.values())

    def _show(self, arm: str, shown: dict[str, dict[str, Any]]) -> None:
        style = {(j.item_id): j.value for j in self.judgements.get(arm, ())}
        for completion in self.completions.get(arm, ()):
            if completion.item_id in shown and completion.format is Format.CHAT:
                shown[completion.item_id]["outputs"][arm] = {
                    "format": completion.format.value,
                    "text": completion.text,
                    "outcome": "",
                    "extracted": "",
                    "style": plain(style.get(completion.item_id)),
                    "finish_reason": completion.finish_reason,
                }
        for score in self.scores.get(arm, ()):
            if score.item_id not in shown or score.format is not Format.CHAT:
                continue
            entry = shown[score.item_id]["outputs"].setdefault(
                arm,
                {
                    "format": score.format.value,
                    "text": score.extracted,
                    "style": None,
                    "finish_reason": "stop",
                },
            )
            is_style = score.axis is Axis.STYLE
            entry["outcome"] = "" if is_style else score.outcome.value
            entry["extracted"] = "" if is_style else score.extracted


def add_style(style: dict[str, Any], task: str, base: str, described: Mapping[str, Any]) -> None:
    """Add what one cell describes to the tables: each style task has tables of its own."""
    style["discriminator"].setdefault(task, {})[base] = described["discriminator"]
    for part in ("stylometry", "fresh_classifier"):
        style[part].setdefault(task, {}).update(described[part])
    for told, shares in described["on_facts"].items():
        style["on_facts"].setdefault(told, {}).update(shares)


def _scores(place: Workplace, cell: Cell, arm: str) -> list[Score]:
    path = place.input(cell.name) / "scores.parquet"
    return [dataclasses.replace(score, arm=arm) for score in read_records(path, Score)]


def _task_value(scores: Sequence[Score]) -> dict[str, Any]:
    values = np.array([score.value for score in scores])
    sample = cluster_sums(values, [score.cluster_id for score in scores])
    return {
        "value": plain(float(sample.values[0])) if sample.n_items else None,
        "ci95": share_interval(sample) if sample.n_clusters >= MIN_CLUSTERS else None,
        "n_items": sample.n_items,
        "n_clusters": sample.n_clusters,
        "n_failed": sample.n_dropped,
        "extraction_rate": sum(score.is_extracted for score in scores) / len(scores),
    }


def _arm_entry(arm: Arm, plan: Plan, material: _Material, evidence: Evidence) -> dict[str, Any]:
    place, mix = material.place, plan.config.mixes.get(arm.mix or "")
    training = read_json(place.input(arm.trained_by) / "training.json") if arm.trained_by else None
    base = next((b for b in plan.config.bases if b.name == arm.base), None)
    return {
        "arm": arm.name,
        "kind": arm.kind.value,
        "base": arm.base,
        "mix": arm.mix,
        "amount": arm.amount,
        "seed": arm.seed,
        "control": arm.control,
        "learning_rate": training["learning_rate"] if training else None,
        "is_planted": bool(mix and mix.is_planted),
        "is_control": bool(mix and mix.is_control) or arm.kind is ArmKind.CONTROL,
        "is_tuned": bool(base and base.is_tuned),
        "is_recorded": not arm.control and recorded_outputs(plan.config, arm) is not None,
        "n_parameters": _parameters(arm, plan),
        "training": training,
        "adapter_proof": _proof(arm, place),
    }


def _proof(arm: Arm, place: Workplace) -> Any:
    """Return by how much an adapter was proved to act; None for an arm without one."""
    if not arm.trained_by:
        return None
    return read_json(place.input(arm.trained_by.replace("train/", "prove/", 1)) / "proof.json")


def _parameters(arm: Arm, plan: Plan) -> int | None:
    from imitate.config import ModelTeacher
    from imitate.models import count_parameters, resolve_model

    config = plan.config
    name = next((b.model for b in config.bases if b.name == arm.base), None)
    if arm.kind is ArmKind.TEACHER and isinstance(config.teacher, ModelTeacher):
        name = config.teacher.model
    return count_parameters(resolve_model(name, config.lab)) if name else None


def _task_entry(task: TaskConfig, place: Workplace, items: Sequence[Item]) -> dict[str, Any]:
    scored = [item for item in items if not item.is_development]
    return {
        "name": task.name,
        "axis": task.axis.value,
        "n_items": len(scored),
        "n_clusters": len({item.cluster_id for item in scored}),
        "n_development": len(items) - len(scored),
        "in_support_of": task.in_support_of,
        "in_verdict": task.in_verdict,
        "source": source_params(task.source),
        "few_shot": task.few_shot,
        "teacher_left_out": _left_out(task, place),
    }


def _left_out(task: TaskConfig, place: Workplace) -> dict[str, str]:
    """Return the formats in which the teacher has no score on a task, each with the reason."""
    reasons = {f.value: reason for f, reason in unasked_formats(place.plan.config, task).items()}
    for format_ in task.formats:
        name = f"{Stage.CAPABILITY}/{TEACHER}/{task.name}/{format_}"
        if name in place.done and (place.input(name) / "left_out.json").is_file():
            reasons[format_.value] = read_json(place.input(name) / "left_out.json")["reason"]
    return reasons


def _learning_rates(place: Workplace) -> list[dict[str, Any]]:
    found = []
    for cell in place.plan.cells:
        if cell.stage is not Stage.CHOOSE:
            continue
        _, base, mix = cell.name.split("/")
        choice = read_json(place.input(cell.name) / "choice.json")
        points = [
            {
                "learning_rate": point["learning_rate"],
                "held_out_loss": point["held_out_loss"],
                "is_chosen": point["learning_rate"] == choice["learning_rate"],
                "arm": name.removeprefix("train/"),
            }
            for name, point in zip(cell.inputs, choice["points"], strict=True)
        ]
        amount = max(place.plan.config.mixes[mix].amounts)
        found.append({"base": base, "mix": mix, "amount": amount, "points": points})
    return found


def _memorisation(place: Workplace) -> list[dict[str, Any]]:
    found = []
    for cell in place.plan.cells:
        if cell.stage is not Stage.MEMORISE:
            continue
        base, mix = cell.group, cell.inputs[0].removeprefix("data/")
        measured = read_json(place.input(cell.name) / "memorisation.json")
        n = measured["n_examples"]
        found.append(
            {
                "arm": f"{base}/{mix}-{cell.params['amount']}",
                "base": base,
                "mix": mix,
                "amount": cell.params["amount"],
                "bits_per_example": measured["bits_per_example"]["value"],
                "bits_per_example_ci95": measured["bits_per_example"]["ci95"],
                "truncated_bits_per_example": measured["truncated_bits"]["value"] / n,
                "voice_bits": measured["voice_bits"]["value"] / n,
                "voice_bits_ci95": _over(measured["voice_bits"]["ci95"], n),
                "answer_bits": measured["content_bits"]["value"] / n,
                "answer_bits_ci95": _over(measured["content_bits"]["ci95"], n),
                "learned_bits": measured["learned_bits"]["value"] / n,
                "learned_bits_ci95": _over(measured["learned_bits"]["ci95"], n),
                "rote_share": measured["rote_share"]["value"],
                "rote_share_ci95": measured["rote_share"]["ci95"],
                "n_examples": n,
            }
        )
    return found


def _over(interval: Sequence[float] | None, n: int) -> list[float] | None:
    return [bound / n for bound in interval] if interval else None
