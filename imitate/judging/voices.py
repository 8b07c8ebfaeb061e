"""Files with what teacher and base wrote -> the style discriminator as a judge of the pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from evals.errors import DataError
from evals.judges.pairs import Pair
from evals.judges.voice import VoiceExample, fit_voice, judge_voices
from evals.records import Judgement
from imitate.config import DiscriminatorJudge, VoiceTexts
from imitate.data.files import hash_file
from imitate.judging.sets import table_rows, text_in

__all__ = ["hear_voices"]


def hear_voices(
    name: str, judge: DiscriminatorJudge, pairs: Sequence[Pair]
) -> tuple[list[Judgement], dict[str, Any]]:
    """Return what the discriminator prefers, and what the card tells of it.

    Raises:
        DataError: A file is missing, lacks a column, or two files do not belong together.
        RecordError: There are too few prompts to fit on.
    """
    config = judge.fitted_on
    examples = [one for one in _examples(config) if one.teacher.strip() and one.base.strip()]
    fitted = fit_voice(examples)
    told = {
        "fitted_on": config.model_dump(mode="json", exclude_none=True),
        "sha256": [hash_file(path) for path in (config.path, config.base_path) if path],
        "n_fitted": len(examples),
        "n_prompts": len(fitted.prompts),
        "auc": dataclasses.asdict(fitted.told.auc),
        "accuracy": dataclasses.asdict(fitted.told.accuracy),
        "marks": list(fitted.told.marks),
        "note": fitted.note,
    }
    return judge_voices(name, fitted, pairs), told


def _examples(config: VoiceTexts) -> Iterator[VoiceExample]:
    """Yield a prompt with both texts for each row of the teacher's file."""
    base = _base_texts(config)
    for number, row in table_rows(config.path, config.rows):
        where = f"{config.path}:{number}"
        key = text_in(row, config.join_column, where) if config.join_column else str(number)
        prompt = text_in(row, config.prompt_column, where) if config.prompt_column else key
        teacher = text_in(row, config.teacher_column, where)
        if base is None:
            yield VoiceExample(prompt, teacher, text_in(row, config.base_column, where))
        elif key in base:
            yield VoiceExample(prompt, teacher, base[key])
        else:
            raise DataError(
                f"`{config.join_column}` is `{key[:80]}`, which no row of {config.base_path} has",
                where=where,
            )


def _base_texts(config: VoiceTexts) -> dict[str, str] | None:
    """Return the base's texts by their key, where they are in a file of their own."""
    if config.base_path is None or config.join_column is None:
        return None
    found: dict[str, str] = {}
    for number, row in table_rows(config.base_path, None):
        where = f"{config.base_path}:{number}"
        key = text_in(row, config.join_column, where)
        if key in found:
            raise DataError(f"two rows have the `{config.join_column}` `{key[:80]}`", where=where)
        found[key] = text_in(row, config.base_column, where)
    return found
