"""The data stage: sources to training examples, with a card that counts every step.

    card = open_source(source)
    prepared = prepare(read_examples(source, data, card), data, items=items, sources=[card])

Pure functions over plain values: what binds them to a config and a store is elsewhere.
"""

from imitate.data.card import DataCard, Quantiles, SourceCard, StepCount, TaskHits
from imitate.data.controls import Swapped, shuffle_responses, swap_explanations
from imitate.data.decontaminate import Decontaminator, Hit
from imitate.data.items import read_items
from imitate.data.prepare import Prepared, prepare
from imitate.data.read import open_source, read_examples

__all__ = [
    "DataCard",
    "Decontaminator",
    "Hit",
    "Prepared",
    "Quantiles",
    "SourceCard",
    "StepCount",
    "Swapped",
    "TaskHits",
    "open_source",
    "prepare",
    "read_examples",
    "read_items",
    "shuffle_responses",
    "swap_explanations",
]
