"""Scores become arrays that line up item by item, in a format chosen on development items."""

import numpy as np
import pytest

from evals.axisdata import PublishedScore, axis_data
from evals.errors import RecordError
from evals.records import Axis, Format, Outcome, Score


def score(arm, item, value, form=Format.CHAT, **changes):
    fields = {
        "item_id": item,
        "arm": arm,
        "task": "task",
        "axis": Axis.FACTUALITY,
        "format": form,
        "cluster_id": f"cluster of {item}",
        "value": value,
        "outcome": Outcome.RIGHT if value else Outcome.WRONG,
    }
    return Score(**fields | changes)


def failed(arm, item, **changes):
    return score(arm, item, 0.0, outcome=Outcome.FAILED, **changes)


def test_arms_line_up_by_item_whatever_the_order_of_the_records():
    records = [score("b", "2", 0), score("a", "1", 1), score("b", "1", 1), score("a", "2", 0.5)]
    data = axis_data(records, Axis.FACTUALITY)
    assert data.arms == ("a", "b")
    np.testing.assert_array_equal(data.values[Format.CHAT], [[1, 0.5], [1, 0]])
    assert data.clusters.tolist() == ["cluster of 1", "cluster of 2"]


def test_failed_call_is_missing_and_not_wrong():
    data = axis_data([score("a", "1", 1), failed("a", "2")], Axis.FACTUALITY)
    np.testing.assert_array_equal(data.values[Format.CHAT], [[1, np.nan]])


def test_samples_are_averaged_over_those_that_did_not_fail():
    records = [score("a", "1", 1), score("a", "1", 0, sample=1), failed("a", "1", sample=2)]
    assert axis_data(records, Axis.FACTUALITY).values[Format.CHAT][0, 0] == 0.5


def test_other_axes_and_development_items_do_not_score():
    records = [
        score("a", "1", 1),
        score("a", "2", 0, axis=Axis.STYLE),
        score("a", "3", 0, is_development=True),
    ]
    assert axis_data(records, Axis.FACTUALITY).values[Format.CHAT].tolist() == [[1]]


def test_missing_item_of_an_arm_is_an_error_that_names_it():
    records = [score("a", "1", 1), score("a", "2", 1), score("b", "1", 1)]
    with pytest.raises(RecordError, match=r"1 missing \(2\)"):
        axis_data(records, Axis.FACTUALITY)


def test_doubled_item_is_an_error_that_names_it():
    with pytest.raises(RecordError, match=r"1 doubled \(1\)"):
        axis_data([score("a", "1", 1), score("a", "1", 0)], Axis.FACTUALITY)


def test_axis_without_scores_is_an_error():
    with pytest.raises(RecordError, match="no scores on capability"):
        axis_data([score("a", "1", 1)], Axis.CAPABILITY)


def test_format_is_chosen_on_development_items_alone():
    records = [
        score("a", "1", 0, Format.PLAIN),
        score("a", "1", 1, Format.CHAT),
        score("a", "dev", 1, Format.PLAIN, is_development=True),
        score("a", "dev", 0, Format.CHAT, is_development=True),
    ]
    assert axis_data(records, Axis.FACTUALITY).best_format == {"a": Format.PLAIN}


def test_arm_of_one_format_needs_no_development_items():
    records = [score("a", "1", 1, Format.PLAIN), score("b", "1", 1, Format.CHAT)]
    data = axis_data(records, Axis.FACTUALITY)
    assert data.best_format == {"a": Format.PLAIN, "b": Format.CHAT}
    assert data.formats_of("a") == (Format.PLAIN,)
    assert data.formats_of("nobody") == ()


def test_two_formats_without_development_items_are_an_error_with_a_hint():
    records = [score("a", "1", 1, Format.PLAIN), score("a", "1", 1, Format.CHAT)]
    with pytest.raises(RecordError, match="`a` answered in two formats") as error:
        axis_data(records, Axis.FACTUALITY)
    assert "is_development" in error.value.hint


def test_floor_and_published_scores_are_handed_on():
    published = {"teacher": PublishedScore(0.7, 100, "model card")}
    data = axis_data([score("a", "1", 1)], Axis.FACTUALITY, floor=0.25, published=published)
    assert (data.floor, data.published) == (0.25, published)
