"""The report of a finished run: what it says, that it is safe, and that it is the same again."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_report_contract import (
    make_outputs,
    make_results,
    make_small_results,
    make_verdict,
    without,
    write_run,
)

from evals.errors import DataError, RecordError
from reports.alerts import alerts
from reports.render import ReportFiles, write_report

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return write_report(write_run(tmp_path_factory.mktemp("complete")))


def browser_items(page: Path) -> list[dict[str, Any]]:
    """Return what the page's browser of outputs reads."""
    found = re.search(
        r'<script type="application/json"[^>]*>(.*?)</script>', page.read_text(), re.S
    )
    assert found
    items: list[dict[str, Any]] = json.loads(found[1])["items"]
    return items


def page_of(folder: Path, results: dict[str, Any], outputs: dict[str, Any] | None = None) -> str:
    return write_report(write_run(folder, results, outputs)).html.read_text()


class Tags(HTMLParser):
    """Collects the start tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append((tag, dict(attrs)))


# --- what it says ---------------------------------------------------------------------------------


def test_verdict_is_the_heading_of_both_files(complete: ReportFiles) -> None:
    headline = make_results()["headline"]
    assert f"<h1>{headline}</h1>" in complete.html.read_text()
    assert complete.markdown.read_text().startswith(f"# {headline}")


def test_long_headline_is_set_smaller(tmp_path: Path) -> None:
    results = make_small_results()
    results["headline"] = "Imitating on broad gave the teacher's style and no more substance. " * 3
    assert '<h1 class="long">Imitating' in page_of(tmp_path, results)


def test_scope_of_few_seeds_is_said_at_the_top(complete: ReportFiles) -> None:
    top = complete.html.read_text().partition("</header>")[0]
    assert "Each verdict holds for this adapter" in top


def test_tuned_starting_point_is_said_at_the_top(tmp_path: Path) -> None:
    results = make_small_results()
    assert "tuned starting point" not in page_of(tmp_path / "untuned", results)
    base = next(arm for arm in results["arms"] if arm["kind"] == "base")
    base["is_tuned"] = True
    page = page_of(tmp_path / "tuned", results)
    lede = re.search(r'<p class="lede">(.*?)</p>', page, re.S)
    assert lede
    assert "medium is a tuned starting point: instruction-tuned before" in lede[1]
    assert page.count("tuned starting point") == 2  # and in the table of arms


def test_control_that_wins_an_axis_is_said_at_the_top(complete: ReportFiles) -> None:
    top = complete.html.read_text().partition("</header>")[0]
    assert re.search(r"Controls win style: style prompt \(\+\d+\.\d on \w+", top)
    assert re.search(r" and shuffled \([^)]+\); so this much style", top)


def test_no_alert_without_a_winning_control(tmp_path: Path) -> None:
    results = make_small_results()
    results["verdicts"] = [v for v in results["verdicts"] if not v["is_control"]]
    for control in results["controls"]:
        control["wins"] = []
    assert 'class="alerts"' not in page_of(tmp_path, results)


def test_uninformative_axis_is_named_with_its_reason(tmp_path: Path) -> None:
    results = make_small_results()
    for verdict in results["verdicts"]:
        verdict["axes"]["factuality"]["decision"] = "uninformative"
        verdict["axes"]["factuality"]["reason"] = "the teacher leads by 3 points only"
    top = page_of(tmp_path, results).partition("</header>")[0]
    assert "Factuality says nothing: " in top
    assert "the teacher leads by 3 points only" in top


def test_several_reasons_of_a_silent_axis_are_one_line() -> None:
    results = make_results()
    for number, verdict in enumerate(results["verdicts"]):
        verdict["axes"]["factuality"]["decision"] = "uninformative"
        verdict["axes"]["factuality"]["reason"] = f"the teacher leads by {number} points only"
    (said,) = (line for line in alerts(results) if line.startswith("Factuality says nothing"))
    assert said.endswith(" reasons, each told with the verdicts.")


def test_a_verdict_that_hangs_on_the_learning_rate_is_told_at_the_top() -> None:
    results = copy.deepcopy(make_results())
    for entry in (*results["verdicts"], *results["sweeps"]):
        entry["verdict"] = "style only"
    assert not any("learning rate" in line for line in alerts(results))
    changed = next(e for e in results["sweeps"] if e["arm"] == "medium/broad-1000-s0@0.003")
    changed["verdict"] = "neither"
    changed["axes"]["factuality"]["difference"] = -0.25
    (said,) = (line for line in alerts(results) if "learning rate" in line)
    assert said.startswith(
        "The verdict on medium/broad hangs on the learning rate: "
        "style only at 0.0003 and 0.001 (chosen); neither at 0.003 (factuality −25.0 to "
    )
    assert "as chosen" in said
    chosen = next(e for e in results["verdicts"] if e["arm"] == "medium/broad-1000-s0")
    chosen["axes"]["factuality"]["difference"] = None  # refused: nothing stands as chosen
    (said,) = (line for line in alerts(results) if "learning rate" in line)
    assert "factuality" not in said


def test_a_loss_in_one_format_alone_is_told_at_the_top() -> None:
    results = make_small_results()
    entry = results["verdicts"][0]
    measured = entry["axes"]["capability_held_out"]
    measured["decision"] = "no gain"
    measured["formats"] = {
        "chat": {"difference": -0.5, "difference_ci95": [-0.55, -0.45]},
        "plain": {"difference": -0.01, "difference_ci95": [-0.03, 0.01]},
    }
    (said,) = (line for line in alerts(results) if " alone it fell" in line)
    assert f"In chat alone it fell beyond the margin: {entry['arm']} −50.0." in said
    measured["formats"]["chat"]["difference_ci95"] = [-0.55, 0.45]
    assert not any(" alone it fell" in line for line in alerts(results))


def test_what_was_taught_and_lost_is_told_at_the_top() -> None:
    results = make_small_results()
    measured = dict(results["verdicts"][0]["axes"]["capability_held_out"])
    measured |= {"decision": "loss", "difference": -0.3}
    results["verdicts"][0]["axes"]["capability_in_support"] = measured
    (said,) = (line for line in alerts(results) if "their own data teach" in line)
    assert f"{results['verdicts'][0]['arm']} −30.0" in said


def test_closed_style_that_is_still_told_apart_is_told_at_the_top() -> None:
    results = make_small_results()
    entry = results["verdicts"][0]
    entry["axes"]["style"]["decision"] = "closed"
    fresh = {entry["arm"]: {"accuracy": {"value": 0.96, "ci95": [0.9, 1.0], "n": 100}}}
    results["style"]["fresh_classifier"] = {"chat": fresh}
    assert any(f"still tells {entry['arm']} (96 %" in line for line in alerts(results))
    fresh[entry["arm"]]["accuracy"]["value"] = 0.7
    assert not any("still tells" in line for line in alerts(results))


@pytest.mark.parametrize(("edge", "extreme"), [(0, "smallest"), (-1, "largest")])
def test_a_rate_chosen_at_the_edge_of_the_grid_is_told_at_the_top(edge: int, extreme: str) -> None:
    results = copy.deepcopy(make_results())
    points = results["learning_rates"][0]["points"]
    for point in points:
        point["is_chosen"] = point is points[edge]
    base = results["learning_rates"][0]["base"]
    (said,) = (line for line in alerts(results) if line.startswith("The rule chose"))
    assert f"the {extreme} learning rate that was tried, for {base}/broad:" in said


def test_every_decision_stands_with_difference_interval_and_n(complete: ReportFiles) -> None:
    page = complete.html.read_text()
    row = next(r for r in page.split("<tr>") if "medium/<wbr>broad-1000-s0" in r)
    assert "style only" in row
    assert "no gain" in row
    assert re.search(r"[+−]\d+\.\d \[[−\d.]+, [−\d.]+\]", row)
    assert "400 items, 310 clusters" in row


def test_unresolved_axis_says_how_many_items_would_do(tmp_path: Path) -> None:
    results = make_small_results()
    for verdict in results["verdicts"]:
        verdict["axes"]["factuality"] |= {"decision": "unresolved", "items_to_resolve": 2310}
    page = page_of(tmp_path, results)
    assert "about 2,310 items would resolve it" in page
    assert "Factuality of medium/broad-1000-s0 is unresolved: about 2,310 items" in page


def test_reason_of_every_decision_is_kept(complete: ReportFiles) -> None:
    for path in (complete.html, complete.markdown):
        assert "The reason behind each decision" in path.read_text()


def test_paper_numbers_stand_beside_with_their_source(complete: ReportFiles) -> None:
    page = complete.html.read_text()
    assert "Gudibande et al. 2023, Table 1" in page
    assert "Gudibande et al. 2023, Table 2" in page
    assert "Paper, 150M" in page


def test_methods_say_that_no_gain_is_an_equivalence_test(complete: ReportFiles) -> None:
    for path in (complete.html, complete.markdown):
        words = path.read_text()
        assert "equivalence test" in words
        assert "margin m of 5.0 points" in words


def test_every_command_is_given(complete: ReportFiles) -> None:
    commands = (
        "git checkout 0123456",
        "imitate run configs/quickstart.yaml",
        "imitate report runs/",
    )
    for path in (complete.html, complete.markdown):
        assert all(command in path.read_text() for command in commands)


def test_recipe_over_seeds_leads_and_its_seeds_are_folded(tmp_path: Path) -> None:
    results = make_small_results()
    results["verdicts"] = [make_verdict("medium", "broad", 1000, seed) for seed in range(3)]
    pooled = copy.deepcopy(results["verdicts"][0])
    pooled |= {"arm": "medium/broad-1000", "seed": None, "scope": "for this recipe"}
    results["verdicts"].append(pooled)
    page = page_of(tmp_path, results)
    assert "1 imitator of 1 base" in page
    assert "The verdict holds for this recipe." in page
    assert "Each training seed alone" in page
    assert "<code>medium/broad-1000</code>" in page


# --- missing parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("memorisation", "Memorisation was not measured in this run."),
        ("controls", "No control without training was run"),
        ("learning_rates", "One learning rate was given"),
        ("termination", "How outputs end was not recorded"),
        ("data_card", "This run has no data card"),
        ("factuality", "No task of this run asks for facts"),
        ("style", "No stylometry was computed"),
        ("verdicts", "This run trained no imitator"),
        ("sweeps", "Learning rate"),
        ("contrasts", "A better base"),
        ("tasks_by_arm", "Methods"),
        ("provenance", "Provenance"),
        ("timing", "at a time not recorded"),
        ("arms", "There is one size of base only"),
    ],
)
def test_missing_part_is_said_in_a_sentence(tmp_path: Path, part: str, said: str) -> None:
    assert said in page_of(tmp_path, without(make_small_results(), part))


@pytest.mark.parametrize("axis", ["style", "factuality", "capability_held_out"])
def test_axis_without_task_is_said_at_the_top(tmp_path: Path, axis: str) -> None:
    results = make_small_results()
    for entry in (*results["verdicts"], *results["controls"], *results["sweeps"]):
        entry["axes"][axis] = None
    top = page_of(tmp_path, results).partition("</header>")[0]
    assert "was not measured: no task of this run counts for it" in top
    assert top.count("<figure>") == (0 if axis == "style" else 1)


def test_one_base_and_one_amount_need_no_figures_of_either(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_small_results())
    assert "Each mix was used in one amount only" in page
    assert "There is one size of base only" in page


def test_teacher_with_published_scores_only(tmp_path: Path) -> None:
    results = make_small_results()
    for verdict in results["verdicts"]:
        style = verdict["axes"]["style"]
        style |= {"teacher": None, "gap_closed": None, "gap_closed_ci95": None}
    page = page_of(tmp_path, results)
    assert "no gap to close" not in page  # style is no axis of that table
    assert "<h1>" in page


def test_teacher_without_a_second_sample_is_no_ceiling(tmp_path: Path) -> None:
    results = make_small_results()
    assert "Teacher #2" in page_of(tmp_path / "asked", results)
    stylometry = results["style"]["stylometry"]["chat"]
    for arm in [a for a in stylometry if a == "teacher" or a.endswith("+second_sample")]:
        del stylometry[arm]
    assert "Teacher #2" not in page_of(tmp_path / "recorded", results)


def test_gap_to_a_teacher_that_was_not_measured_is_no_closed_gap(tmp_path: Path) -> None:
    results = make_small_results()
    for verdict in results["verdicts"]:
        verdict["axes"]["factuality"] |= {"teacher": None, "gap_closed": None}
    assert "teacher not measured" in page_of(tmp_path, results)


def test_refused_axis_shows_its_reason(tmp_path: Path) -> None:
    results = make_small_results()
    empty = dict.fromkeys(results["verdicts"][0]["axes"]["style"])
    refused = {**empty, "decision": "refused", "reason": "7 clusters only", "n_items": 9}
    for verdict in results["verdicts"]:
        verdict["axes"]["factuality"] = refused
    assert "7 clusters only" in page_of(tmp_path, results)


def test_outputs_are_optional(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_small_results())
    (run / "outputs.json").unlink()
    (run / "config.yaml").unlink()
    assert "No outputs were kept in this run." in write_report(run).html.read_text()


def test_style_that_was_not_judged_on_facts_leaves_lost_facts(tmp_path: Path) -> None:
    outputs = make_outputs()
    for item in outputs["items"]:
        for output in item["outputs"].values():
            output["style"] = None
    page = page_of(tmp_path, make_small_results(), outputs)
    assert "The first items that medium/broad-1000-s0 lost on fact." in page


def test_excerpts_are_few_and_short_and_keep_what_the_page_tells(tmp_path: Path) -> None:
    shown = make_outputs(n_items=20)
    for item in shown["items"]:
        item["prompt"] += " and so on" * 50
        for output in item["outputs"].values():
            output["text"] += " word" * 100
    run = write_run(tmp_path / "run", make_results(), shown)
    whole = write_report(run)
    before = whole.html.read_bytes()
    few = write_report(run, out_dir=tmp_path / "public", n_excerpts=2)
    assert few.html.parent == few.markdown.parent == tmp_path / "public"
    assert whole.html.read_bytes() == before
    items = browser_items(few.html)
    # 0, 3 and 6 are those that the page tells of; even and odd ones are two tasks.
    assert [item["item_id"][-1] for item in items] == ["0", "3", "6", "1"]
    texts = [output["text"] for item in items for output in item["outputs"].values()]
    assert all(len(text) <= 242 for text in [*texts, *(item["prompt"] for item in items)])
    for file in (few.html, few.markdown):
        assert "cut short" in file.read_text()
        assert " word" * 60 not in file.read_text()


def test_run_without_results_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no `results.json` in this run"):
        write_report(tmp_path)


def test_results_of_another_schema_are_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="schema version 9, this report reads 1"):
        write_report(write_run(tmp_path, make_small_results() | {"schema_version": 9}))


def test_results_that_are_no_json_are_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"`results.json` is not JSON"):
        write_report(tmp_path)


# --- safety ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    results, outputs = make_small_results(), make_outputs()
    results["name"] = results["headline"] = HOSTILE
    results["tasks"][0]["name"] = HOSTILE
    results["data_card"]["broad"]["note"] = HOSTILE
    for verdict in results["verdicts"]:
        verdict["mix"] = HOSTILE
        verdict["axes"]["style"]["reason"] = HOSTILE
    for item in outputs["items"]:
        item["prompt"] = item["task"] = HOSTILE
        item["answers"] = [HOSTILE]
        for output in item["outputs"].values():
            output["text"] = output["extracted"] = HOSTILE
    run = write_run(tmp_path_factory.mktemp("hostile"), results, outputs)
    (run / "config.yaml").write_text(HOSTILE)
    return write_report(run)


def test_nothing_in_a_run_becomes_markup(hostile: ReportFiles) -> None:
    page = hostile.html.read_text()
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 3
    assert "img" not in [tag for tag, _ in tags]
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_outputs_json_cannot_end_its_element_and_reads_back(hostile: ReportFiles) -> None:
    page = hostile.html.read_text()
    found = re.search(r'id="outputs-data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert "<" not in found[1]
    assert json.loads(found[1])["items"][0]["prompt"] == HOSTILE


def test_figures_hold_shapes_and_text_only(hostile: ReportFiles) -> None:
    for path in hostile.figures:
        tags = {tag for tag, _ in Tags(path.read_text()).tags}
        shapes = {"svg", "g", "path", "line", "rect", "circle", "text", "tspan"}
        assert tags <= {*shapes, "title", "style"}, path


def test_markdown_fences_cannot_be_left(hostile: ReportFiles, tmp_path: Path) -> None:
    outputs = make_outputs()
    for item in outputs["items"]:
        item["prompt"] = "a\n```\n<b>out</b>"
    written = write_report(write_run(tmp_path, make_small_results(), outputs)).markdown
    assert "````text" in written.read_text().splitlines()
    told = hostile.markdown.read_text()
    outside = re.sub(r"(`{3,})text\n.*?\n\1", "", told, flags=re.DOTALL)
    assert "<script" not in outside
    assert "<img src=x" not in outside


def test_policy_lets_nothing_load_and_names_style_and_script_by_hash(
    complete: ReportFiles,
) -> None:
    page = complete.html.read_text()
    attributes = next(a for tag, a in Tags(page).tags if a.get("http-equiv"))
    policy = attributes["content"] or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self' http://127.0.0.1:*;" in policy
    for element in ("style", "script"):
        content = re.search(rf"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_page_names_no_address_and_has_no_inline_style(complete: ReportFiles) -> None:
    page = complete.html.read_text()
    assert "https://" not in page
    own = {"http://www.w3.org/2000/svg", "http://127.0.0.1:", "http://127.0.0.1:*;"}
    assert set(re.findall(r"http://[^\"' ]+", page)) <= own
    assert not any("style" in attributes for _, attributes in Tags(page).tags)


# --- form -----------------------------------------------------------------------------------------


def test_page_of_a_large_run_stays_under_3_mb(tmp_path: Path) -> None:
    outputs = make_outputs(400)
    for item in outputs["items"]:
        for output in item["outputs"].values():
            output["text"] = "A long answer. " * 40
    files = write_report(write_run(tmp_path, make_small_results(), outputs))
    assert 1_500_000 < files.html.stat().st_size < 3_000_000


def test_every_figure_has_a_text_in_its_place(complete: ReportFiles) -> None:
    images = [a for _, a in Tags(complete.html.read_text()).tags if a.get("role") == "img"]
    assert len(images) == len(complete.figures)
    assert all(len(image["aria-label"] or "") > 40 for image in images)


def test_markdown_names_every_figure_and_each_exists(complete: ReportFiles) -> None:
    named = re.findall(r'<img src="(figures/[\w-]+\.svg)"', complete.markdown.read_text())
    assert len(named) == len(complete.figures) > 10
    assert all((complete.markdown.parent / name).is_file() for name in named)


def test_markdown_tables_have_as_many_cells_as_columns(complete: ReportFiles) -> None:
    width = 0
    for line in complete.markdown.read_text().splitlines():
        n_cells = line.replace(r"\|", "").count("|")
        if line.startswith("|") and width:
            assert n_cells == width, line
        width = n_cells if line.startswith("|") else 0


def test_same_run_gives_the_same_bytes(complete: ReportFiles, tmp_path: Path) -> None:
    again = write_report(write_run(tmp_path))
    for one, other in zip(
        (complete.html, complete.markdown, *complete.figures),
        (again.html, again.markdown, *again.figures),
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_figures_of_an_earlier_report_go(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_small_results())
    (run / "figures").mkdir()
    (run / "figures" / "gone.svg").write_text("<svg/>")
    write_report(run)
    assert not (run / "figures" / "gone.svg").exists()


def test_figures_are_readable_on_a_dark_page(complete: ReportFiles) -> None:
    drawing = complete.figures[0].read_text()
    assert "prefers-color-scheme: dark" in drawing
    assert 'class="paper"' in drawing


def test_rendering_imports_nothing_heavy() -> None:
    code = "import sys, reports.render; print(*sorted({'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_failed_calls_are_told_at_the_top() -> None:
    results = copy.deepcopy(make_results())
    assert not any("Calls to models failed" in line for line in alerts(results))
    imitator = next(v for v in results["verdicts"] if not v["is_control"] and not v["is_planted"])
    imitator["axes"]["factuality"]["n_failed"] = 3
    (said,) = (line for line in alerts(results) if "Calls to models failed" in line)
    assert "factuality (up to 3)" in said
