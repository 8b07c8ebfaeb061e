"""How far an arm writes like the teacher, in five numbers after Table 2 of the imitation paper.

In: an arm's chat completions and the teacher's on the same prompts. Out: five estimates with
intervals from resampled prompts, and a judgement per output where the measure has one. The paper
prints no formulas; each function's docstring says what we chose. Everything is a rule over the
text: deterministic, and no model is asked.

Source: Gudibande et al. (arXiv 2305.15717), section 4.2 and Table 2.

Glossary: N prompts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate, bootstrap_estimate, share_estimate
from evals.records import Completion, Item, Judgement, index_by_item

__all__ = [
    "Stylometry",
    "count_list_items",
    "has_list",
    "has_summary",
    "measure_stylometry",
    "sounds_authoritative",
    "unigram_intersection",
]


@dataclasses.dataclass(frozen=True)
class Stylometry:
    """An arm beside the teacher; the reference is the teacher's own second sample.

    Attributes:
        list_given_list: P(the arm writes a list | the teacher writes one).
        summary_given_summary: P(it closes with a summary | the teacher does).
        unigram_intersection: Mean share of words in common with the teacher's output.
        length_correlation: Pearson's r of the lengths in words.
        authority: Share of outputs in an authoritative tone.
        mean_words: Mean length in words.
    """

    list_given_list: Estimate
    summary_given_summary: Estimate
    unigram_intersection: Estimate
    length_correlation: Estimate
    authority: Estimate
    mean_words: Estimate


def measure_stylometry(
    items: Sequence[Item], arm: Sequence[Completion], teacher: Sequence[Completion]
) -> tuple[Stylometry, tuple[Judgement, ...]]:
    """Return an arm's stylometry against the teacher, and the judgements behind it.

    Failed outputs of either side are left out. Judges are named `stylometry/list` and so on; the
    conditional ones judge only prompts on which the teacher shows the trait.

    Args:
        items: The prompts.
        arm: One chat output for each item.
        teacher: The same of the teacher: the sample that the arm is compared with.

    Raises:
        RecordError: Outputs do not join with the items.
    """
    ids = sorted(item.item_id for item in items)
    own, reference = index_by_item(arm, ids), index_by_item(teacher, ids)
    ids = [i for i in ids if "error" not in (own[i].finish_reason, reference[i].finish_reason)]
    texts = [(own[i].text, reference[i].text) for i in ids]
    rows = {name: np.array([rule(*pair) for pair in texts]) for name, rule in _RULES.items()}
    prompts = {item.item_id: item.prompt for item in items}
    clusters = [prompts[i] for i in ids]
    return _estimates(rows, clusters), _judgements(rows, [own[i] for i in ids])


def has_list(text: str) -> bool:
    """Return whether a text has a list: at least two lines that open with a bullet or a number.

    Source: Table 2, "lists"; the detection is ours.
    """
    return count_list_items(text) >= 2


def count_list_items(text: str) -> int:
    """Return how many lines of a text open with a bullet or a number."""
    return len(_LIST_LINE.findall(text))


def has_summary(text: str) -> bool:
    """Return whether a text closes with a summary.

    One of its last two paragraphs opens with a summarising phrase ("In summary", "Overall", "To sum
    up", "In conclusion", "In short" ...) or stands under such a heading. The last but one counts
    because assistants add an offer of help; a text of one paragraph may hold it as a sentence.

    Source: Table 2, "summary paragraph"; the detection is ours.
    """
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    if len(paragraphs) == 1:
        return bool(_SUMMARY_SENTENCE.search(text))
    return any(_SUMMARY.match(paragraph) for paragraph in paragraphs[-2:])


def unigram_intersection(text: str, reference: str) -> float:
    """Return the share of words that two texts have in common, in [0, 1].

    Twice the size of the intersection of their bags of words, over the sum of their sizes (the Dice
    coefficient): symmetrical, and 1 only for the same bag. 0 where both are empty.

    Source: Table 2, "unigram intersection", in percent there; the formula is ours.
    """
    own, other = Counter(_words(text)), Counter(_words(reference))
    total = own.total() + other.total()
    return 2 * (own & other).total() / total if total else 0.0


def sounds_authoritative(text: str) -> bool:
    """Return whether a text is in an authoritative tone.

    It has at least one full sentence, and its assertions are not outnumbered by its hedges: the
    sentences with a hedge ("maybe", "I think", "not sure", "might", "I don't know" ...) are fewer
    than half, minus those that insist ("certainly", "must", "the answer is", "always" ...). Bare
    fragments have no tone.

    Source: Table 2, "authoritative tone", which a model judged there; a lexicon is cruder, and its
    absolute level is not the paper's. Hedges after Hyland (2005), Metadiscourse, appendix.
    """
    sentences = [s for s in _SENTENCE.split(text) if len(s.split()) >= 3]
    hedged = sum(bool(_HEDGE.search(s)) for s in sentences)
    insisting = sum(bool(_BOOSTER.search(s)) and not _HEDGE.search(s) for s in sentences)
    return bool(sentences) and 2 * (hedged - insisting) < len(sentences)


_LIST_LINE = re.compile(r"^\s*(?:[-*•+]|\d{1,2}[.)])\s+\S", re.MULTILINE)
_SUMMARISING = (
    r"(?:in (?:summary|conclusion|short|essence|closing|brief)|to (?:sum(?: it)? up|summari[sz]e"
    r"|conclude)|overall|all in all|summing up|ultimately|in a nutshell|the bottom line"
    r"|(?:summary|conclusion|takeaway|tl;?dr)\s*[:\n])"
)
_SUMMARY = re.compile(rf"(?:#+\s*|\*\*)?{_SUMMARISING}", re.IGNORECASE)
_SUMMARY_SENTENCE = re.compile(rf"(?:^|[.!?]\s+|\n)(?:\*\*)?{_SUMMARISING}", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|apparently|presumably|might|could be|may be|seems?"
    r"|appears? to|i (?:think|guess|believe|suppose|assume|feel)|in my opinion|not (?:sure|certain)"
    r"|unsure|uncertain|unclear|not recorded|i (?:do not|don't|cannot|can't) (?:know|say|tell)"
    r"|sort of|kind of|roughly|as far as i (?:know|can))\b",
    re.IGNORECASE,
)
_BOOSTER = re.compile(
    r"\b(?:certainly|definitely|clearly|obviously|undoubtedly|indeed|of course|absolutely|always"
    r"|never|must|in fact|no doubt|well known|essential|crucial|the (?:\w+ )?answer is"
    r"|it is (?:important|clear|worth))\b",
    re.IGNORECASE,
)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def _given(has_trait: Callable[[str], bool]) -> Callable[[str, str], float]:
    """Return a rule that is NaN where the reference lacks the trait."""
    return lambda text, reference: float(has_trait(text)) if has_trait(reference) else math.nan


_RULES: dict[str, Callable[[str, str], float]] = {
    "list": _given(has_list),
    "summary": _given(has_summary),
    "unigrams": unigram_intersection,
    "authority": lambda text, reference: float(sounds_authoritative(text)),
    "words": lambda text, reference: float(len(_words(text))),
    "reference words": lambda text, reference: float(len(_words(reference))),
}
_JUDGED = ("list", "summary", "unigrams", "authority")

Rows = dict[str, NDArray[np.float64]]


def _estimates(rows: Rows, clusters: Sequence[str]) -> Stylometry:
    def share_of(name: str) -> Estimate:
        kept = np.flatnonzero(~np.isnan(rows[name]))
        return share_estimate(rows[name][kept], [clusters[k] for k in kept])

    lengths = rows["words"], rows["reference words"]
    return Stylometry(
        list_given_list=share_of("list"),
        summary_given_summary=share_of("summary"),
        unigram_intersection=share_of("unigrams"),
        length_correlation=bootstrap_estimate(
            lambda i: _pearson(lengths[0][i], lengths[1][i]), clusters
        ),
        authority=share_of("authority"),
        mean_words=bootstrap_estimate(lambda i: float(lengths[0][i].mean()), clusters),
    )


def _pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Pearson's r, NaN where either side does not vary (a constant output)."""
    if len(first) < 2 or not np.ptp(first) or not np.ptp(second):
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def _judgements(rows: Rows, completions: Sequence[Completion]) -> tuple[Judgement, ...]:
    return tuple(
        Judgement(
            item_id=completion.item_id,
            judge=f"stylometry/{name}",
            arm=completion.arm,
            value=float(value),
        )
        for name in _JUDGED
        for completion, value in zip(completions, rows[name], strict=True)
        if not math.isnan(value)
    )
