"""The parts of a report after its first screen, in order, with the words around the numbers."""

from __future__ import annotations

from typing import Any

from reports import appendix, figures, paper, tables, text, verdicts
from reports.methods import methods
from reports.numbers import number
from reports.page import Section
from reports.preference import preference_section
from reports.reading import (
    AXES,
    Run,
    axes_of,
    base_names,
    imitators,
    is_trained_here,
    lead_imitator,
    shown_arm,
)

__all__ = ["all_sections"]

Entry = dict[str, Any]


def all_sections(run: Run) -> tuple[Section, ...]:
    """Return every section; one without data says so in a sentence."""
    results = run.results
    return (
        _verdicts(results),
        _amounts(results),
        _sizes(results),
        _rates(results),
        _gaps(results),
        _style(results),
        preference_section(results),
        _facts(results),
        _memorisation(results),
        _controls(results),
        _termination(results),
        _data(results),
        _methods(results),
        _limits(results),
        _provenance(run),
    )


def _verdicts(results: Entry) -> Section:
    shown = verdicts.verdict_tables(results)
    lead = "Every decision compares an arm with its own base on the same items."
    if not shown:
        lead = "This run has no imitator, so no verdict was reached."
    return Section("verdicts", "Verdicts", (lead,), tables=shown)


def _amounts(results: Entry) -> Section:
    drawn = figures.amount_figures(results)
    lead = (
        "What each axis gains over the own base as imitation data grows. The shaded band is the "
        "margin within which a gain counts as none; dashed lines are the teacher. Each panel has "
        "its own scale; the band has the same height in points in all of them."
        if drawn
        else "Each mix was used in one amount only, so nothing is said about more or less data."
        if is_trained_here(results)
        else "How much data the imitators saw is not known here, so nothing is said about more."
    )
    slopes = () if len(base_names(results)) > 1 else tables.slope_table(results)
    return Section(
        "data-amount",
        "More imitation data",
        (lead,),
        figures=drawn,
        tables=slopes,
        short="Data amount",
    )


def _sizes(results: Entry) -> Section:
    drawn = figures.size_figures(results)
    lead = lead_imitator(results)
    if not drawn or lead is None:
        said = "There is one size of base only, so nothing is said about a better base."
        return Section("base-size", "A better base", (said,), short="Base size")
    said = (
        f"Each base alone (hollow), its imitator trained on `{lead['mix']}` (filled) and the "
        "teacher. Intervals are those of the imitator's difference to its own base. Where "
        "imitation teaches nothing, imitator and base rise together."
    )
    slopes = tables.slope_table(results) if len(base_names(results)) > 1 else ()
    return Section(
        "base-size", "A better base", (said,), figures=drawn, tables=slopes, short="Base size"
    )


def _rates(results: Entry) -> Section:
    drawn = figures.rate_figures(results)
    rule = (results.get("rule") or {}).get("learning_rate_rule")
    if not drawn:
        said = "One learning rate was given, so nothing is said about others."
        if not is_trained_here(results):
            said = "No imitator was trained here, so nothing is said about learning rates."
        return Section("learning-rate", "Learning rate", (said,))
    said = (
        f"The rate was chosen by a rule fixed beforehand: {rule or 'not stated'}. Filled marks are "
        "the chosen rate, hollow ones the others: what a different choice would have shown. A loss "
        "that only a high rate shows belongs to the rate, not to imitation. The rule reads how "
        "well the teacher's responses are predicted, and nothing of what else is lost."
    )
    return Section("learning-rate", "Learning rate", (said,), figures=drawn)


def _gaps(results: Entry) -> Section:
    said = (
        "After the paper's Table 1: base, imitators and teacher on the same items. "
        "Ratios illustrate; the decisions above rest on differences."
    )
    if not any(axes_of(entry).keys() - {"style"} for entry in results.get("verdicts") or []):
        said = "This run asked for neither facts nor capability: the paper's numbers stand alone."
    return Section(
        "gap",
        "How much of the gap is closed",
        (said,),
        short="Gap closed",
        tables=paper.gap_tables(results),
    )


def _style(results: Entry) -> Section:
    shown = (*paper.style_tables(results), *tables.telling_table(results))
    said = "After the paper's Table 2: outputs on held-out prompts against the teacher's."
    if not paper.style_tables(results):
        said = "No stylometry was computed in this run."
    return Section("style", "What the style is made of", (said,), tables=shown, short="Style")


def _facts(results: Entry) -> Section:
    shown = tables.facts_table(results)
    if not shown:
        said = "No task of this run asks for facts, so there is nothing on hallucination."
        return Section("facts", "Known, unknown and made up", (said,))
    lead = lead_imitator(results)
    of_lead = f" Figures show `{shown_arm(results, lead)}`." if lead else ""
    said = (
        "Training on a better model's answers can teach guessing: so answers are right, wrong or "
        f"abstained, split by what the base knows and by how often a fact is mentioned.{of_lead}"
    )
    known = (
        "What the base knows was classified on one set of few-shot draws and scored on another; "
        "with a single set, decline among known facts would be regression to the mean. Compare "
        "arms in one format: part of a difference between formats is the format's."
    )
    return Section(
        "facts",
        "Known, unknown and made up",
        (said,),
        short="Facts",
        figures=(
            *figures.knowledge_figure(
                results, "by_knowledge", "facts-known", "Answers by what the base knows"
            ),
            *figures.knowledge_figure(
                results, "by_group", "facts-group", "Answers by group of facts"
            ),
        ),
        tables=(
            *shown,
            *tables.knowledge_table(results, "by_knowledge", "By what the base knows", known),
            *tables.knowledge_table(results, "by_group", "By group of facts", ""),
        ),
    )


def _memorisation(results: Entry) -> Section:
    shown = tables.memorisation_table(results)
    said = (
        "Bits of its own training responses that an adapter holds beyond an adapter trained on "
        "the other random half: what is rote and not learned in general. Voice and answers are "
        "counted apart; the untruncated sum comes first."
        if shown
        else "Memorisation was not measured in this run."
    )
    return Section("memorisation", "Memorisation", (said,), tables=shown)


def _controls(results: Entry) -> Section:
    shown = verdicts.control_table(results)
    said = (
        "Arms that cannot have learned what the teacher knows. What they gain is what the measure "
        "gives away; the teacher's second sample is the ceiling of style, not a rival."
        if shown
        else "No control without training was run: read gains in style with that in mind."
    )
    return Section("controls", "Controls", (said,), tables=shown)


def _termination(results: Entry) -> Section:
    shown = appendix.termination_table(results)
    said = (
        "An adapter that forgets to stop reads like a style of its own: so this is checked."
        if shown
        else "How outputs end was not recorded in this run."
    )
    return Section("termination", "How outputs end", (said,), tables=shown, short="Endings")


def _data(results: Entry) -> Section:
    shown = appendix.data_tables(results)
    said = (
        "What the imitators were trained on, and what was dropped on the way and why."
        if shown
        else "This run has no data card: the imitators were not trained here."
    )
    return Section("data", "Data card", (said,), tables=shown)


def _methods(results: Entry) -> Section:
    shown = (
        *appendix.task_table(results),
        *appendix.arm_table(results),
        *appendix.agreement_tables(results),
        *appendix.score_table(results),
    )
    return Section("methods", "Methods", terms=methods(results), tables=shown)


def _limits(results: Entry) -> Section:
    return Section("limits", "Limits", notes=(*text.limits(results), *_small_samples(results)))


def _small_samples(results: Entry) -> list[str]:
    fewest = [
        (measured["n_clusters"], f"{entry['arm']}, {AXES[axis].lower()}")
        for entry in imitators(results)
        for axis, measured in axes_of(entry).items()
        if measured.get("n_clusters")
    ]
    if not fewest:
        return []
    n_clusters, where = min(fewest)
    return [f"The smallest sample behind a decision: {number(n_clusters, 0)} clusters ({where})."]


def _provenance(run: Run) -> Section:
    return Section(
        "provenance",
        "Provenance and timing",
        short="Provenance",
        paragraphs=("Everything needed to run this again.",),
        tables=(*appendix.provenance_table(run.results), *appendix.timing_table(run.results)),
        blocks=appendix.provenance_blocks(run),
    )
