"""The tables and blocks that a reviewer checks: arms, tasks, scores, data, provenance, timing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from reports.numbers import count, duration, number, percent, share_interval
from reports.page import Block, Cell, Table
from reports.reading import AXES, Run, chosen_format, mix_names, ordered
from reports.text import TRUNCATED_NOTABLY

__all__ = [
    "agreement_tables",
    "arm_table",
    "data_tables",
    "provenance_blocks",
    "provenance_table",
    "score_table",
    "task_table",
    "termination_table",
    "timing_table",
]

Entry = dict[str, Any]


def task_table(results: Entry) -> tuple[Table, ...]:
    """Return what was asked."""
    rows = tuple(
        (
            Cell(task["name"], _source(task.get("source"))),
            Cell(str(task.get("axis") or "")),
            Cell(count(task.get("n_items"))),
            Cell(count(task.get("n_clusters"))),
            Cell(count(task.get("n_development"))),
            Cell(count(task.get("few_shot"))),
            Cell(", ".join(task.get("in_support_of") or []) or "none"),
        )
        for task in results.get("tasks") or []
    )
    columns = ("Task", "Axis", "Items", "Clusters", "Development", "Few-shot", "In support of")
    return (Table("Tasks", columns, rows),) if rows else ()


def arm_table(results: Entry) -> tuple[Table, ...]:
    """Return how every arm was made."""
    rows = tuple(_arm_row(results, arm) for arm in results.get("arms") or [])
    columns = (
        "Arm", "Kind", "Parameters", "Rate", "Steps", "Tokens", "Held-out loss", "Adapter moves",
        "Format",
    )  # fmt: skip
    note = (
        "Held-out loss is on teacher responses that no adapter saw, in nats a token: before "
        "training → after. By how much an adapter moves log-probabilities, also in nats a token, "
        "is the proof that it acts. Format is the one chosen for the axis on development items."
    )
    return (Table("Arms", columns, rows, note, is_folded=True),) if rows else ()


def agreement_tables(results: Entry) -> tuple[Table, ...]:
    """Return how far a server says what PEFT says, of every base and adapter behind one."""
    proofs = {
        arm["arm"]: (arm["base"], arm["adapter_proof"]["agreement"])
        for arm in results.get("arms") or []
        if (arm.get("adapter_proof") or {}).get("agreement")
    }
    if not proofs:
        return ()
    bases = {base: agreement["base"] for base, agreement in reversed(proofs.values())}
    found = bases | {arm: agreement["adapter"] for arm, (_, agreement) in proofs.items()}
    bounds = next(iter(proofs.values()))[1]
    columns = ("Arm", "Mean difference", "Largest", "Same greedy token", "Greedy tokens", "Tokens")
    note = (
        "Log-probabilities of the same texts by the server and by PEFT in process, in nats a "
        "token; a base is served beside its adapters. Backends round in different orders, so a "
        "run stops only where the mean difference is above "
        f"{bounds['bound']:g} or a token that PEFT would say lags by more than "
        f"{bounds['tie_bound']:g} nats."
    )
    table = Table("Server against PEFT", columns, tuple(map(_agreement_row, found.items())), note)
    return (table, *_lm_eval_table(proofs))


def _agreement_row(named: tuple[str, Entry]) -> tuple[Cell, ...]:
    arm, agreement = named
    return (
        Cell(arm),
        Cell(f"{agreement['mean_difference']:.1e}"),
        Cell(f"{agreement['largest_difference']:.1e}"),
        Cell(percent(agreement["same_greedy"], 2)),
        Cell(count(agreement["n_greedy"])),
        Cell(count(agreement["n_tokens"])),
    )


def _lm_eval_table(proofs: dict[str, tuple[str, Entry]]) -> tuple[Table, ...]:
    rows = [
        (
            Cell(base if side == "base" else arm, scored["task"]),
            Cell(percent(scored[side]["hf"])),
            Cell(percent(scored[side]["served"])),
            Cell(percent(scored[side]["same"])),
            Cell(count(scored[side]["n"])),
        )
        for arm, (base, agreement) in proofs.items()
        if (scored := agreement.get("lm_eval"))
        for side in ("base", "adapter")
    ]
    columns = ("Arm", "lm-eval `hf`", "Server", "Same outcome", "Items")
    note = "The same items by lm-eval's own transformers model, with PEFT, and through the server."
    return (Table("lm-eval on both", columns, tuple(rows), note),) if rows else ()


def score_table(results: Entry) -> tuple[Table, ...]:
    """Return every score: arm by task, in each format."""
    rows = [
        (
            Cell(arm),
            Cell(task),
            Cell(form),
            Cell(percent(score.get("value")), share_interval(score.get("ci95"))),
            Cell(count(score.get("n_items"))),
            Cell(count(score.get("n_clusters"))),
            Cell(count(score.get("n_failed"))),
            Cell(percent(score.get("extraction_rate"))),
        )
        for arm, tasks in (results.get("tasks_by_arm") or {}).items()
        for task, formats in (tasks or {}).items()
        for form, score in (formats or {}).items()
        if score
    ]
    columns = ("Arm", "Task", "Format", "Score", "Items", "Clusters", "Failed", "Extracted")
    return (Table("Every score", columns, tuple(rows), is_folded=True),) if rows else ()


def termination_table(results: Entry) -> tuple[Table, ...]:
    """Return how outputs ended and how long they were."""
    rows = [
        (
            Cell(arm, form),
            Cell(percent(entry.get("eos_rate"))),
            _rate_cell(entry.get("truncated_rate")),
            _rate_cell(entry.get("error_rate")),
            *(Cell(count(entry.get(f"tokens_{p}"))) for p in ("p10", "p50", "p90")),
            Cell(count(entry.get("n"))),
        )
        for arm, formats in (results.get("termination") or {}).items()
        for form, entry in (formats or {}).items()
        if entry
    ]
    columns = ("Arm", "Ended", "Cut off", "Failed", "p10", "Median", "p90", "Outputs")
    note = "Lengths in tokens. Outputs that run on until they are cut off can pass for a style."
    is_long = len(rows) > 12
    return (Table("How outputs end", columns, tuple(rows), note, is_long),) if rows else ()


def data_tables(results: Entry) -> tuple[Table, ...]:
    """Return the data card of each mix: what each step took, and everything else there is."""
    tables: list[Table] = []
    cards = results.get("data_card") or {}
    for mix in ordered(cards, mix_names(results)):
        card = cards[mix] or {}
        steps = tuple(_step_row(step) for step in card.get("steps") or [])
        if steps:
            columns = ("Step", "Rows in", "Dropped", "Changed", "Rows out")
            tables.append(Table(f"Mix {mix}, step by step", columns, steps))
        rest = {key: value for key, value in card.items() if key != "steps"}
        rows = tuple((Cell(key), Cell(value)) for key, value in _flat(rest))
        if rows:
            tables.append(Table(f"Mix {mix}", ("What", "Value"), rows, is_folded=bool(steps)))
    return tuple(tables)


def provenance_table(results: Entry) -> tuple[Table, ...]:
    """Return what was run: code, versions, hardware, seeds, models, data."""
    provenance = results.get("provenance") or {}
    dirty = " with uncommitted changes" if provenance.get("is_dirty") else ""
    rows = [("commit", f"{provenance.get('commit') or 'unknown'}{dirty}")]
    for part in ("versions", "hardware", "seeds", "models", "data"):
        rows += [(f"{part}: {key}", value) for key, value in _flat(provenance.get(part))]
    cells = tuple((Cell(key), Cell(value)) for key, value in rows)
    return (Table("What was run", ("What", "Value"), cells),)


def timing_table(results: Entry) -> tuple[Table, ...]:
    """Return where the time went, by stage."""
    timing = results.get("timing") or {}
    stages: dict[str, list[Entry]] = {}
    for cell in timing.get("cells") or []:
        stages.setdefault(cell["stage"], []).append(cell)
    rows = tuple(
        (
            Cell(stage),
            Cell(count(len(cells))),
            Cell(count(sum(bool(cell.get("reused")) for cell in cells))),
            Cell(duration(sum(cell.get("seconds") or 0.0 for cell in cells))),
        )
        for stage, cells in stages.items()
    )
    outside = percent(timing.get("share_outside_models"))
    note = (
        f"Started {timing.get('started') or 'at a time not recorded'}, "
        f"{duration(timing.get('total_s'))} in all, {outside} of it outside the models."
    )
    return (Table("Time by stage", ("Stage", "Cells", "Reused", "Time"), rows, note),)


def provenance_blocks(run: Run) -> tuple[Block, ...]:
    """Return the commands, the config as written and as resolved, and the fingerprints."""
    provenance = run.results.get("provenance") or {}
    resolved = provenance.get("config")
    blocks = [
        Block("Every command", _commands(run.results), is_open=True),
        Block("config.yaml", run.config_text),
        Block("Resolved config", _pretty(resolved) if resolved else ""),
        Block("Fingerprints of cells", _pretty(provenance.get("fingerprints") or {})),
    ]
    return tuple(block for block in blocks if block.text.strip() not in {"", "{}"})


def _source(source: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in _flat(source)) if source else ""


def _commands(results: Entry) -> str:
    provenance, timing = results.get("provenance") or {}, results.get("timing") or {}
    folder = (timing.get("paths") or {}).get("run")
    lines = [
        f"git checkout {provenance['commit']}" if provenance.get("commit") else "",
        provenance.get("command") or "",
        f"imitate report {folder}" if folder else "",
    ]
    return "\n".join(line for line in lines if line)


def _arm_row(results: Entry, arm: Entry) -> tuple[Cell, ...]:
    training = arm.get("training") or {}
    before, after = training.get("held_out_loss_before"), training.get("held_out_loss")
    loss = "–" if after is None else f"{number(before, 4)} → {number(after, 4)}"
    formats = {
        title: form
        for axis, title in AXES.items()
        if axis != "style" and (form := chosen_format(results, arm["arm"], axis))
    }
    rate = arm.get("learning_rate")
    shift = (arm.get("adapter_proof") or {}).get("shift")
    return (
        Cell(arm["arm"], "tuned starting point" if arm.get("is_tuned") else ""),
        Cell("planted" if arm.get("is_planted") else str(arm["kind"])),
        Cell(count(arm.get("n_parameters"))),
        Cell("–" if rate is None else f"{rate:g}"),
        Cell(count(training.get("steps"))),
        Cell(count(training.get("tokens"))),
        Cell(loss),
        Cell("–" if shift is None else number(shift)),
        Cell(", ".join(f"{axis}: {form}" for axis, form in formats.items()) or "–"),
    )


def _step_row(step: Entry) -> tuple[Cell, ...]:
    name = Cell(str(step["step"]).replace("_", " "))
    if not step.get("is_enabled", True):
        return (name, *(Cell("off" if place == 0 else "–") for place in range(4)))
    keys = ("rows_in", "dropped", "changed", "rows_out")
    return (name, *(Cell(count(step.get(key))) for key in keys))


def _rate_cell(rate: float | None) -> Cell:
    is_high = rate is not None and rate > TRUNCATED_NOTABLY
    return Cell(percent(rate), tone="vermillion" if is_high else "")


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the plain values below `value`, with their path in words."""
    if isinstance(value, str):
        yield name.replace("_", " "), value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{name}, {key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        for place, below in enumerate(value, start=1):
            yield from _flat(below, f"{name} {place}".strip())
    elif value is not None:
        yield name.replace("_", " "), _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(part) for part in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
