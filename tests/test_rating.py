"""`imitate rate`: blinded pages out, ratings in, and every way in which either can be wrong."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ratedruns import (
    BASE,
    IMITATOR,
    QUALITY,
    TEACHER,
    fill_json,
    fill_table,
    prefers,
    shown_pairs,
    write_run,
    write_table,
)

from evals.judges.meetings import meeting_id
from evals.judges.pairs import Pair, gather_votes
from evals.preference.battles import gather_battles
from evals.records import Judgement, read_records
from imitate.cli import main

Entry = dict[str, Any]


def export(run: Path, *more: str) -> int:
    return main(["rate", "export", str(run), "--seed", "7", *more])


def take_in(run: Path, *files: Path, more: tuple[str, ...] = ()) -> int:
    return main(["rate", "import", str(run), *map(str, files), *more])


def key_of(run: Path) -> Entry:
    return json.loads((run / "ratings" / "key.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def ratings_of(run: Path) -> Entry:
    return json.loads((run / "ratings" / "ratings.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    assert export(folder) == 0
    return folder


@pytest.fixture
def page(run: Path) -> Path:
    return run / "ratings" / "rate.html"


def test_imitators_meet_their_teacher_and_their_own_base_by_default(run: Path) -> None:
    pairs = key_of(run)["pairs"]
    contests = Counter((p["task"], p["arm"], p["against"]) for p in pairs if not p["check"])
    assert contests == {("chat", IMITATOR, TEACHER): 20, ("chat", IMITATOR, BASE): 20}
    assert Counter(p["check"] for p in pairs) == {"": 40, "other": 4, "same": 4}
    assert not any(p["item_id"].startswith("chat-90") for p in pairs)  # development items


def test_requests_come_back_as_seldom_as_possible(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", n_items=40)
    assert export(folder) == 0
    dealt = Counter(p["item_id"] for p in key_of(folder)["pairs"] if not p["check"])
    assert set(dealt.values()) == {1}
    assert len(dealt) == 40


def test_places_are_even_in_every_contest_and_random(run: Path) -> None:
    pairs = [p for p in key_of(run)["pairs"] if not p["check"]]
    for against in (TEACHER, BASE):
        orders = [p["order"] for p in pairs if p["against"] == against]
        assert sorted(orders) == [0] * 10 + [1] * 10
        assert orders not in (sorted(orders), [0, 1] * 10, [1, 0] * 10)


def test_key_tells_what_the_page_shows(run: Path, page: Path) -> None:
    key, shown = key_of(run), shown_pairs(page)
    assert shown["page_id"] == key["page_id"]
    assert [p["id"] for p in shown["pairs"]] == [p["id"] for p in key["pairs"]]
    for pair, kept in zip(shown["pairs"], key["pairs"], strict=True):
        own, other = (pair["a"], pair["b"])[:: -1 if kept["order"] else 1]
        assert own == f"{QUALITY[kept['arm']]} answer to {kept['item_id']}"
        wrong = kept["other_item"] or kept["item_id"]
        assert other == f"{QUALITY[kept['against']]} answer to {wrong}"
        assert (wrong != kept["item_id"]) == (kept["check"] == "other")
    assert len(key["instructions_sha256"]) == 64
    assert "must be preferred" in key["attention"]["rule"]
    assert key["attention"]["bound"] == 0.75


@pytest.mark.parametrize("name", ["rate.html", "rate.csv"])
def test_nothing_handed_out_tells_arms_order_or_checks(run: Path, name: str) -> None:
    text = (run / "ratings" / name).read_text(encoding="utf-8-sig")
    for telling in (IMITATOR, TEACHER, BASE, "broad", "attention", "cluster", "tiny", "style task"):
        assert telling not in text
    ids = [pair["id"] for pair in key_of(run)["pairs"]]
    assert {len(one) for one in ids} == {11}
    assert len(set(ids)) == len(ids)
    assert sorted(ids) != ids


def test_page_holds_what_is_shown_and_no_more(page: Path) -> None:
    shown = shown_pairs(page)
    assert set(shown) == {"page_id", "pairs"}
    assert all(set(pair) == {"id", "prompt", "a", "b"} for pair in shown["pairs"])
    html = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in html.replace("&#39;", "'")
    assert "http" not in html.partition("</style>")[2]


def test_one_seed_draws_one_page_and_no_seed_a_fresh_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    texts = []
    for number in range(2):
        assert export(folder, "--out", str(tmp_path / str(number))) == 0
        out = sorted((tmp_path / str(number)).iterdir())
        assert [path.name for path in out] == ["key.json", "rate.csv", "rate.html"]
        texts.append([path.read_bytes() for path in out])
    assert texts[0] == texts[1]
    seeds = set()
    for name in ("fresh", "fresher"):
        assert main(["rate", "export", str(folder), "--out", str(tmp_path / name)]) == 0
        seeds.add(json.loads((tmp_path / name / "key.json").read_text())["seed"])
    assert len(seeds) == 2


def test_tasks_arms_and_numbers_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    chosen = ["--task", "facts", "--pairs", f"{BASE}:{TEACHER}", "--items", "3", "--attention", "0"]
    assert export(folder, *chosen) == 0
    pairs = key_of(folder)["pairs"]
    assert {(p["task"], p["arm"], p["against"], p["check"]) for p in pairs} == {
        ("facts", BASE, TEACHER, "")
    }
    assert len(pairs) == 3
    told = capsys.readouterr().out
    assert "3 pairs of facts in 1 contests, and 0 attention checks" in told
    assert "3 items in a contest are too few for an interval" in told
    assert json.loads(told.splitlines()[-1])["n_pairs"] == 3


def test_export_says_what_an_even_contest_can_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(write_run(tmp_path / "run")) == 0
    told = capsys.readouterr().out
    assert "An even contest of 20 items has an interval of 28 to 72 %" in told
    assert "key.json stays with you" in told


def test_cells_that_a_spreadsheet_would_compute_are_defused(tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://example.com")'
    texts = {(arm, f"chat-{n}"): evil for arm in (IMITATOR, TEACHER) for n in range(20)}
    folder = write_run(tmp_path / "run", texts=texts)
    assert export(folder, "--attention", "0") == 0
    with (folder / "ratings" / "rate.csv").open(newline="", encoding="utf-8-sig") as file:
        cells = [row[side] for row in csv.DictReader(file) for side in ("answer_a", "answer_b")]
    assert f"'{evil}" in cells
    assert not any(cell.startswith("=") for cell in cells)


def test_attentive_raters_are_read_from_page_and_sheet_alike(run: Path, page: Path) -> None:
    sheet = fill_table(page.with_suffix(".csv"), "Bo")
    assert take_in(run, fill_json(page, "Ann"), sheet) == 0
    told = ratings_of(run)
    assert [one["rater"] for one in told["raters"]] == ["Ann", "Bo"]
    for one in told["raters"]:
        assert (one["n_answered"], one["n_missing"], one["is_inattentive"]) == (48, 0, False)
        assert one["attention"] == {
            "value": 1.0,
            "ci95": [pytest.approx(0.025 ** (1 / 8)), 1.0],
            "n": 8,
            "n_passed": 8,
        }
    assert [one["median_seconds"] for one in told["raters"]] == [1.0, None]
    assert told["agreement"]["nominal"]["value"] == 1
    assert told["n_pairs"] == told["agreement"]["n_rated_twice"] == 40
    rates = {one["against"]: one["win_rate"]["value"] for one in told["contests"]}
    assert rates == {BASE: 1.0, TEACHER: 0.0}


def test_judgements_are_those_of_any_judge(run: Path, page: Path) -> None:
    assert take_in(run, fill_json(page, "Ann"), fill_json(page, "Bo", lambda _: "a")) == 0
    said = read_records(run / "ratings" / "judgements.parquet", Judgement)
    assert Counter(one.judge for one in said) == {
        "human:Ann": 40,
        "human:Bo": 40,
        "human:majority": 40,
    }
    for one in said:
        if one.judge == "human:Ann":
            assert one.value == float(one.against == BASE)
        if one.judge == "human:Bo":
            assert one.value == float(one.order == 0)
    mine = [one for one in said if one.judge == "human:Bo" and one.against == BASE]
    assert all(
        one.item_id == meeting_id(one.item_id.split("|")[0], (IMITATOR, BASE)) for one in mine
    )
    pairs = [Pair(one.item_id, "?", "long answer", "b", one.arm, one.against) for one in mine]
    votes = gather_votes(pairs, mine)
    assert sum(one.first is None for one in votes) == 10
    assert gather_battles(pairs, mine).preference.sum() == 10
    first = {one["rater"]: one["first"]["value"] for one in ratings_of(run)["raters"]}
    assert first == {"Ann": 0.5, "Bo": 1.0}


def test_raters_who_differ_leave_ties_that_are_counted(run: Path, page: Path) -> None:
    swap = {"a": "b", "b": "a", "tie": "tie"}
    contrary = fill_json(page, "Bo", lambda pair: swap[prefers(pair)])
    assert take_in(run, fill_json(page, "Ann"), contrary) == 0
    for one in ratings_of(run)["contests"]:
        assert (one["wins"], one["ties"], one["losses"], one["n_undecided"]) == (0, 20, 0, 20)
        assert one["votes"]["value"] == 0.5
    assert ratings_of(run)["agreement"]["nominal"]["value"] < -0.9


def test_the_inattentive_are_told_and_left_out_where_asked(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    files = fill_json(page, "Ann"), fill_json(page, "Zed", lambda _: "b")
    assert take_in(run, *files) == 0
    ann, zed = ratings_of(run)["raters"]
    assert (ann["is_inattentive"], zed["is_inattentive"], zed["is_left_out"]) == (0, 1, 0)
    told = capsys.readouterr().out
    assert "inattentive under 75 % of the checks" in told
    assert [line.split()[0] for line in told.splitlines() if line.endswith("inattentive ")] == [
        "Zed"
    ]
    assert ratings_of(run)["agreement"]["n_rated_twice"] == 40
    assert take_in(run, *files, more=("--drop-inattentive",)) == 0
    told = ratings_of(run)
    assert told["raters"][1]["is_left_out"] is True
    assert told["agreement"]["nominal"] == {"value": None, "ci95": None, "n": 0}
    judges = {j.judge for j in read_records(run / "ratings" / "judgements.parquet", Judgement)}
    assert judges == {"human:Ann", "human:majority"}


def test_what_was_left_open_is_counted_and_no_vote(run: Path, page: Path) -> None:
    left = {pair["id"] for pair in key_of(run)["pairs"][:10]}
    file = fill_json(page, "Ann", lambda pair: "" if pair["id"] in left else prefers(pair))
    assert take_in(run, file) == 0
    told = ratings_of(run)
    assert (told["raters"][0]["n_answered"], told["raters"][0]["n_missing"]) == (38, 10)
    n_open = sum(pair["id"] in left and not pair["check"] for pair in key_of(run)["pairs"])
    assert sum(one["n_rated"] for one in told["contests"]) == 40 - n_open


def test_a_key_and_pages_may_lie_elsewhere(tmp_path: Path) -> None:
    folder, out = write_run(tmp_path / "run"), tmp_path / "out"
    assert export(folder, "--out", str(out)) == 0
    file = fill_json(out / "rate.html", "Ann")
    assert take_in(folder, file, more=("--key", str(out / "key.json"))) == 0
    assert ratings_of(folder)["raters"][0]["rater"] == "Ann"


def test_sheets_of_other_spreadsheets_are_read(run: Path, page: Path) -> None:
    words = {"a": "A ", "b": "2", "tie": "Equal"}
    filled = fill_table(page.with_suffix(".csv"), "Bo", lambda pair: words[prefers(pair)])
    with filled.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows.append(dict.fromkeys(rows[0], ""))
    assert take_in(run, write_table(filled, rows, delimiter=";")) == 0
    assert ratings_of(run)["raters"][0]["attention"]["n_passed"] == 8
    assert ratings_of(run)["raters"][0]["n_missing"] == 0
