"""What a job leaves in its folder: examples, the card that says how they came about, the config.

Each file appears whole or not at all, and the card last: examples without a card are no result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evals.errors import RunError
from evals.records import Example, write_records
from imitate.config import DistillJob
from imitate.distilling.gathering import Response

__all__ = ["CARD", "EXAMPLES", "render_card", "write_outputs"]

EXAMPLES = "examples.jsonl"
CARD = "card.json"
_SHOWN_FAILURES = 12


def write_outputs(
    folder: Path, job: DistillJob, responses: Sequence[Response], card: Mapping[str, Any]
) -> None:
    """Replace what an earlier run of the job left.

    Raises:
        RunError: A file cannot be written.
    """
    (folder / CARD).unlink(missing_ok=True)
    lines = "".join(json.dumps(_row(one), ensure_ascii=False) + "\n" for one in responses)
    examples = [response.example for response in responses]
    config = yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    _put(folder / EXAMPLES, _text(lines))
    _put(folder / "examples.parquet", lambda path: write_records(path, examples, Example))
    _put(folder / "config.yaml", _text(config))
    _put(folder / "card.txt", _text(render_card(card)))
    _put(folder / CARD, _text(json.dumps(card, indent=1, ensure_ascii=False) + "\n"))


def render_card(card: Mapping[str, Any]) -> str:
    """Return a card as text for a terminal."""
    parts = [_told_origin(card), _told_counts(card["counts"]), _told_failures(card["failed"])]
    parts += [_told_cost(card["ledger"]), _told_dates(card["timing"])]
    if not card["is_complete"]:
        parts.insert(0, f"incomplete: {card['stopped']}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(response: Response) -> dict[str, Any]:
    example = response.example
    return {
        "prompt": example.prompt,
        "response": example.response,
        "example_id": example.example_id,
        "prompt_id": response.prompt_id,
        "sample": response.sample,
        "is_refusal": response.is_refusal,
        "source": example.source,
        "category": example.category,
    }


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


def _put(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise RunError(f"cannot write `{path}`: {error.strerror}; all answers are kept") from error


def _told_origin(card: Mapping[str, Any]) -> str:
    teacher, sampling = card["teacher"], card["sampling"]
    where = teacher.get("host") or teacher.get("identity", "")
    prompts = ", ".join(f"{key} {_short(value)}" for key, value in card["prompts"].items() if value)
    how = ", ".join(f"{key} {value:g}" for key, value in sampling.items())
    return f"teacher {teacher['model']} ({where})\nsampling {how}\nprompts {prompts}"


def _short(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else str(value)


def _told_counts(counts: Mapping[str, int]) -> str:
    width = max(map(len, counts))
    return "\n".join(f"{name.replace('_', ' '):<{width}} {n:>11,}" for name, n in counts.items())


def _told_failures(failures: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"failed {one['prompt_id']}: {one['error']}" for one in failures[:_SHOWN_FAILURES]]
    if len(failures) > _SHOWN_FAILURES:
        lines.append(f"and {len(failures) - _SHOWN_FAILURES:,} more")
    return "\n".join(lines)


def _told_cost(ledger: Mapping[str, Any] | None) -> str:
    if ledger is None:
        return ""
    told = [f"{ledger['tokens_in']:,} tokens in, {ledger['tokens_out']:,} out"]
    if ledger["cost_usd"] is not None:
        told.append(f"{ledger['cost_usd']:.4f} USD")
    if ledger["tokens_unsettled"]:
        told.append(f"at most {ledger['tokens_unsettled']:,} tokens more, under way at a kill")
    told.append(f"{ledger['cached_in_last_run']:,} answers were there before the last run")
    return "; ".join(told)


def _told_dates(timing: Mapping[str, Any]) -> str:
    return f"answered from {timing['first_answer']} to {timing['last_answer']}"
