"""What each kind of cell does: read finished inputs, call the library, write the outputs.

Each module covers some stages and holds nothing but this binding; the work itself is in `evals`,
`imitate.data`, `imitate.train` and the others, which know nothing of cells.
"""

from __future__ import annotations

from imitate.plan import Cell, Stage
from imitate.stages.workplace import Workplace

__all__ = ["Workplace", "run_stage"]


def run_stage(cell: Cell, place: Workplace) -> None:
    """Write a cell's files into its folder."""
    from imitate.stages import (
        analysing,
        answering,
        gathering,
        listening,
        preferring,
        proving,
        training,
    )

    write = {
        Stage.ITEMS: gathering.write_items,
        Stage.DISTILL: gathering.write_distilled,
        Stage.DATA: gathering.write_examples,
        Stage.TRAIN: training.write_adapter,
        Stage.CHOOSE: training.write_choice,
        Stage.REFERENCE: proving.write_reference,
        Stage.PROVE: proving.write_proof,
        Stage.GENERATE: answering.write_completions,
        Stage.CAPABILITY: answering.write_capability,
        Stage.SCORE: answering.write_scores,
        Stage.KNOWLEDGE: answering.write_knowledge,
        Stage.STYLE: listening.write_style,
        Stage.MEMORISE: listening.write_memorisation,
        Stage.JUDGE: preferring.write_judgements,
        Stage.PREFER: preferring.write_preference,
        Stage.ANALYSE: analysing.write_analysis,
    }
    write[cell.stage](cell, place)
