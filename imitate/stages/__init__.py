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
    from imitate.stages import analysing, answering, gathering, listening, training

    match cell.stage:
        case Stage.ITEMS:
            gathering.write_items(cell, place)
        case Stage.DISTILL:
            gathering.write_distilled(cell, place)
        case Stage.DATA:
            gathering.write_examples(cell, place)
        case Stage.TRAIN:
            training.write_adapter(cell, place)
        case Stage.CHOOSE:
            training.write_choice(cell, place)
        case Stage.GENERATE:
            answering.write_completions(cell, place)
        case Stage.CAPABILITY:
            answering.write_capability(cell, place)
        case Stage.SCORE:
            answering.write_scores(cell, place)
        case Stage.KNOWLEDGE:
            answering.write_knowledge(cell, place)
        case Stage.STYLE:
            listening.write_style(cell, place)
        case Stage.MEMORISE:
            listening.write_memorisation(cell, place)
        case Stage.ANALYSE:
            analysing.write_analysis(cell, place)
