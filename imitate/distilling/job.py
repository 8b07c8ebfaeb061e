"""A checked job and its folder -> examples and a card in the folder, or what stopped it.

What the teacher has answered is kept as it comes: killed at any moment and given again, the job
asks for what is missing and ends in the same examples. Where the budget, the server or the account
ends it early, what is there is written too, and the card says that it is incomplete.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.endpoint import Progress
from evals.errors import ImitateError, RunError, UserError
from evals.journal import Journal
from evals.ledger import Budget, Ledger, Price
from imitate.config import DistillJob, ModelTeacher, SeedPrompts
from imitate.distilling.gathering import Fate, Gathered, gather_answers
from imitate.distilling.outputs import write_outputs
from imitate.distilling.prompts import PromptSet, Seeds, read_prompts, read_seeds
from imitate.distilling.seeds import gather_pairs
from imitate.distilling.teacher import Ask, answers_folder, describe_teacher, open_asking
from imitate.progress import open_bars
from imitate.provenance import describe_source

__all__ = ["JobResult", "run_job"]


@dataclasses.dataclass(frozen=True)
class JobResult:
    """The card of what was written, and the error that ended the job early, if one did."""

    card: dict[str, Any]
    stopped: ImitateError | None


def run_job(job: DistillJob, folder: Path, *, command: str, quiet: bool) -> JobResult:
    """Ask the teacher and write what came of it.

    Args:
        job: What is asked, of whom, and what it may cost.
        folder: Where answers are kept and examples go; it is there already.
        command: What the user gave, for the card.
        quiet: Whether to show no progress.

    Raises:
        ImitateError: Nothing was answered; the reason is the error.
    """
    started = datetime.now(UTC)
    asked = _what_to_ask(job)
    ledger = _ledger(job, folder)
    with (
        open_asking(job, folder, ledger) as ask,
        open_bars(_total(job, asked), quiet=quiet) as bars,
    ):
        found = _gather(job, asked, ask, bars.advance)
    if not found.responses:
        raise found.stopped or _nothing(found)
    card = _card(job, asked, found) | {
        "provenance": {"command": command} | describe_source(),
        "ledger": _told_spending(job, ledger),
        "timing": _timing(started, answers_folder(job, folder)),
    }
    write_outputs(folder, job, found.responses, card)
    return JobResult(card, found.stopped)


def _what_to_ask(job: DistillJob) -> PromptSet | Seeds:
    if isinstance(job.prompts, SeedPrompts):
        return read_seeds(job.prompts)
    return read_prompts(job.prompts)


def _gather(job: DistillJob, asked: PromptSet | Seeds, ask: Ask, progress: Progress) -> Gathered:
    if isinstance(asked, Seeds):
        return gather_pairs(job, asked, ask, progress)
    return gather_answers(job, asked.asked, ask, progress)


def _total(job: DistillJob, asked: PromptSet | Seeds) -> int:
    """Return how many answers, or pairs, are wanted."""
    if isinstance(asked, Seeds):
        return asked.config.pairs
    return len(asked.asked) * job.sampling.samples


def _ledger(job: DistillJob, folder: Path) -> Ledger:
    prices = {job.teacher.model: Price(**job.price.model_dump())} if job.price else {}
    budget = Budget(job.budget.max_tokens, job.budget.max_usd)
    return Ledger(prices, budget, Journal(folder / "spending.jsonl"))


def _nothing(found: Gathered) -> RunError:
    counts = [f"{name.replace('_', ' ')} {n:,}" for name, n in _counts(found).items() if n]
    first = f"; the first: {found.failures[0].error}" if found.failures else ""
    return RunError(f"no call gave an example: {', '.join(counts)}{first}")


def _card(job: DistillJob, asked: PromptSet | Seeds, found: Gathered) -> dict[str, Any]:
    return {
        "name": job.name,
        "is_complete": not (found.stopped or found.note),
        "stopped": _why_stopped(found),
        "teacher": describe_teacher(job),
        "sampling": {**job.sampling.model_dump(), "temperature": job.temperature, "seed": job.seed},
        "prompts": asked.as_json(),
        "counts": _counts(found),
        "failed": [dataclasses.asdict(failure) for failure in found.failures],
    }


def _why_stopped(found: Gathered) -> str:
    if isinstance(found.stopped, UserError):
        return found.stopped.message
    return str(found.stopped) if found.stopped else found.note


def _counts(found: Gathered) -> dict[str, int]:
    fates = {fate.value: found.fates[fate] for fate in Fate}
    return {
        "asked": found.fates.total() - found.fates[Fate.NOT_ASKED],
        **fates,
        "unreadable": found.n_unreadable,
        "refused": found.n_refused,
        "refused_dropped": found.n_refused_dropped,
        "exact_duplicates": found.n_exact_duplicates,
        "near_duplicates": found.n_near_duplicates,
        "examples": len(found.responses),
    }


def _told_spending(job: DistillJob, ledger: Ledger) -> dict[str, Any] | None:
    """Return what all runs of the job spent on its server; None of a model that ran here."""
    if isinstance(job.teacher, ModelTeacher):
        return None
    spent = ledger.spending().values()
    costs = [one.cost_usd for one in spent]
    return {
        "answered": sum(one.n_answered for one in spent),
        "tokens_in": sum(one.usage.prompt_tokens for one in spent),
        "tokens_out": sum(one.usage.completion_tokens for one in spent),
        "tokens_unsettled": sum(one.unsettled.total_tokens for one in spent),
        "cost_usd": None if None in costs else sum(filter(None, costs)),
        "cached_in_last_run": sum(one.n_cached for one in spent),
    }


def _timing(started: datetime, answers: Path) -> dict[str, Any]:
    """Return when the last run was, and from when to when the teacher answered in all of them."""
    answered = sorted(path.stat().st_mtime for path in answers.glob("*/*.json"))
    moments = {"first_answer": answered[0], "last_answer": answered[-1]} if answered else {}
    return {
        "started": started.isoformat(timespec="seconds"),
        "total_s": round((datetime.now(UTC) - started).total_seconds(), 3),
        **{name: _as_iso(moment) for name, moment in moments.items()},
    }


def _as_iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
