"""Verdicts that are there already -> judgements, as if the judge had been asked now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.errors import DataError
from evals.judges.pairs import Order, Pair
from evals.records import Judgement
from imitate.config import FilePairs, LlmBarPairs, MtBenchPairs, ProbePairs, RecordedJudge
from imitate.judging.sets import (
    llmbar_folder,
    read_llmbar_file,
    read_word,
    table_rows,
    text_in,
)

__all__ = ["read_recorded"]

_SWAPS = {Order.FIRST: "swap = False", Order.SECOND: "swap = True"}


def read_recorded(
    name: str,
    judge: RecordedJudge,
    config: LlmBarPairs | MtBenchPairs | FilePairs | ProbePairs,
    pairs: Sequence[Pair],
) -> list[Judgement]:
    """Return the recorded judgements of the pairs; a verdict that is missing has failed.

    Args:
        name: The judge's name.
        judge: Where its verdicts are.
        config: Where the pairs come from.
        pairs: What `read_pairs` made of them.

    Raises:
        DataError: The verdicts are missing or do not belong to the pairs.
    """
    match config:
        case LlmBarPairs():
            said = _llmbar(judge, config)
        case FilePairs():
            said = _table(judge, config)
        case MtBenchPairs() | ProbePairs():
            raise AssertionError("the config refuses recorded verdicts on these pairs")
    by_id = {pair.pair_id: pair for pair in pairs}
    return [_judgement(name, by_id[pair_id], order, value) for pair_id, order, value in said]


def _llmbar(judge: RecordedJudge, config: LlmBarPairs) -> Iterator[tuple[str, Order, float | None]]:
    for subset in config.subsets:
        folder = llmbar_folder(config.path, subset)
        path = folder / "evaluators" / str(judge.evaluator) / judge.method / "result.json"
        rows, verdicts = read_llmbar_file(folder / "dataset.json"), read_llmbar_file(path)
        if [row["input"] for row in rows] != [row["input"] for row in verdicts]:
            raise DataError("the verdicts are on other pairs than the data set's", where=str(path))
        for number, row in enumerate(verdicts):
            for order, swap in _SWAPS.items():
                try:
                    winner = str(row["results"][0][swap]["winner"])
                except (KeyError, IndexError, TypeError):
                    raise DataError(f"row {number} has no verdict", where=str(path)) from None
                yield f"{subset}/{number:03}", order, {"1": 1.0, "2": 0.0}.get(winner)


def _table(judge: RecordedJudge, config: FilePairs) -> Iterator[tuple[str, Order, float | None]]:
    columns = {Order.FIRST: judge.verdict_column, Order.SECOND: judge.swapped_column}
    for number, row in table_rows(config.path, config.rows):
        where = f"{config.path}:{number}"
        pair_id = text_in(row, config.id_column, where) if config.id_column else str(number)
        for order, column in columns.items():
            if column:
                yield pair_id, order, read_word(config.words, row, column, where)


def _judgement(name: str, pair: Pair, order: Order, value: float | None) -> Judgement:
    return Judgement(
        item_id=pair.pair_id,
        judge=name,
        arm=pair.arm,
        against=pair.against,
        order=int(order),
        value=float("nan") if value is None else value,
        error="no verdict is recorded" if value is None else "",
    )
