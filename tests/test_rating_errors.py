"""`imitate rate`: what users can get wrong is told in one message, and nothing is lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from ratedruns import IMITATOR, TEACHER, fill_json, fill_table, shown_pairs, write_run, write_table
from test_rating import export, ratings_of, take_in

from evals.records import Item, read_records, write_records


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    assert export(folder) == 0
    return folder


@pytest.fixture
def page(run: Path) -> Path:
    return run / "ratings" / "rate.html"


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Return the one message of a command that a user has to mend."""
    told = capsys.readouterr().err
    assert code == 2
    assert told.startswith("error: ")
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--task", "chats"], "error: `--task chats`: no such task\n\nhint: tasks: chat, facts"),
        (["--pairs", "nobody:teacher"], "`--pairs nobody:teacher`: no arm `nobody` has answered"),
        (["--pairs", "teacher"], "`--pairs teacher`: no arm `` has answered"),
        (["--pairs", "teacher:teacher"], "an arm cannot meet itself"),
        (["--attention", "50"], "50 attention checks need as many items that `teacher` has"),
    ],
)
def test_export_refuses_what_the_run_has_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    folder = write_run(tmp_path / "run")
    assert message in refused(capsys, export(folder, *more))
    assert not (folder / "ratings").exists()


def test_export_refuses_a_run_without_records_or_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    shutil.rmtree(folder / "records")
    assert "there is no `records/` in this run" in refused(capsys, export(folder))
    assert "no results in" in refused(capsys, export(tmp_path))


def test_export_refuses_a_run_without_imitator_or_style(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "records" / "items.parquet"
    items = read_records(path, Item)
    write_records(path, [item for item in items if item.task != "chat"], Item)
    assert "this run has no task of style\n\nhint: --task, one of facts" in refused(
        capsys, export(folder)
    )
    results = json.loads((folder / "results.json").read_text())
    results["arms"] = results["arms"][:2]
    (folder / "results.json").write_text(json.dumps(results))
    assert "this run has no imitator to rate" in refused(capsys, export(folder))


def test_export_refuses_checks_where_all_answers_are_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {(TEACHER, f"chat-{n}"): "As you wish." for n in range(24)}
    folder = write_run(tmp_path / "run", texts=texts)
    told = refused(capsys, export(folder))
    assert "no attention check can be made: `teacher` answers everything alike" in told


def test_export_never_replaces_the_key_of_another_page(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (run / "ratings").iterdir()}
    told = refused(capsys, export(run, "--items", "5"))
    assert "another page's key is there, without which its ratings mean nothing" in told
    assert {path.name: path.read_bytes() for path in (run / "ratings").iterdir()} == before
    assert export(run) == 0  # the same page again does no harm


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_ratings_of_another_page_are_refused(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shown_pairs(page)["page_id"]
    other = fill_json(page, "Ann", page_id="0123456789abcdef")
    told = refused(capsys, take_in(run, other))
    assert f"{other}: belongs to page 0123456789abcdef, the key to page {own}" in told


def test_every_fault_of_every_file_is_told_and_nothing_is_written(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, first = fill_json(page, "Cy"), shown_pairs(page)["pairs"][0]["id"]
    ann = fill_json(page, "Ann")
    told = json.loads(ann.read_text())
    told["answers"][1] |= {"choice": "best"}
    told["answers"] += [told["answers"][0], {**told["answers"][2], "id": "f" * 10}]
    ann.write_text(json.dumps(told))
    sheet = fill_table(page.with_suffix(".csv"), "Bo", lambda _: "left")
    before = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    message = refused(capsys, take_in(run, good, ann, sheet))
    assert f"{ann}: answer 2 says `best`, which is none of a, b, equal" in message
    assert f"{ann}: answer 49 answers `{first}` a second time" in message
    assert f"{ann}: answer 50 has the id `ffffffffff`, which the page does not know" in message
    assert f"{sheet}: row 2 says `left`, which is none of a, b, equal" in message
    assert "and 39 more" in message
    assert "nothing was written and no file was changed" in message
    assert {path.name: path.read_bytes() for path in page.parent.iterdir()} == before


def test_a_rater_who_comes_twice_is_refused(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = fill_json(page, "Ann"), fill_table(page.with_suffix(".csv"), " ann ")
    message = refused(capsys, take_in(run, *files))
    assert f"{files[1]}: `ann` has rated in {files[0]} too" in message


@pytest.mark.parametrize(
    ("rater", "message"),
    [
        ("", "names no rater"),
        ("x" * 61, "names a rater in more than 60 characters"),
        ("Majority", "names the rater `Majority`, which is kept for the majority of all"),
    ],
)
def test_names_that_cannot_stand_are_refused(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str], rater: str, message: str
) -> None:
    assert message in refused(capsys, take_in(run, fill_json(page, rater)))
    if len(rater) < 60:
        sheet = fill_table(page.with_suffix(".csv"), rater)
        assert message in refused(capsys, take_in(run, sheet))


def test_sheets_of_several_raters_or_without_a_column_are_refused(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = fill_table(page.with_suffix(".csv"), "Ann")
    with sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[1]["rater"] = "Bo"
    message = refused(capsys, take_in(run, write_table(sheet, rows)))
    assert "has several raters (Ann, Bo): write one name into the column `rater`" in message
    without = [{key: row[key] for key in row if key != "better"} for row in rows]
    assert "has no column better: rate.csv has page, id, request" in refused(
        capsys, take_in(run, write_table(sheet, without))
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"kind": "imitate ratings", "answers": [', "is not whole JSON"),
        (b'{"kind": "something else"}', "is not what a rating page of this version saves"),
        (b'{"kind": "imitate ratings", "schema_version": 1}', "lacks a part of what the page"),
        (b"", "has no column better, id, page, rater"),
        (b'page,id,better,rater\nx,y,"a', "is not whole CSV"),
        (b"page,id,better,rater\nx,y,a,J\xfcrg", "is not UTF-8; save the sheet as CSV UTF-8"),
    ],
)
def test_broken_files_are_told_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "sent"
    path.write_bytes(content)
    assert f"{path}: {message}" in refused(capsys, take_in(run, path))
    assert path.read_bytes() == content


def test_missing_files_and_keys_are_told(
    run: Path, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone.json"
    assert f"{gone}: cannot be read: No such file" in refused(capsys, take_in(run, gone))
    file = fill_json(page, "Ann")
    message = refused(capsys, take_in(run, file, more=("--key", str(gone))))
    assert "no key can be read: No such file" in message
    assert "--key FILE" in message
    gone.write_text("[]")
    for no_key in (file, page, gone):
        message = refused(capsys, take_in(run, file, more=("--key", str(no_key))))
        assert "this is no key of a rating page" in message


def test_keys_of_other_versions_and_runs_are_refused(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, key = fill_json(page, "Ann"), run / "ratings" / "key.json"
    write_run(run, texts={(IMITATOR, f"chat-{n}"): "anew" for n in range(24)})
    message = refused(capsys, take_in(run, file))
    assert "the answers of this run are not those that were rated" in message
    write_run(run, n_items=2)
    message = refused(capsys, take_in(run, file))
    assert "the key belongs to run `tiny`, not to this one: the run has no text for" in message
    edit(key, '"schema_version": 1', '"schema_version": 2')
    assert "the key has schema version 2, not 1" in refused(capsys, take_in(run, file))


def test_nobody_left_is_an_error_that_keeps_earlier_ratings(
    run: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take_in(run, fill_json(page, "Ann")) == 0
    before = ratings_of(run)
    bad = fill_json(page, "Zed", lambda _: "b")
    message = refused(capsys, take_in(run, bad, more=("--drop-inattentive",)))
    assert "nobody is left: 1 of 1 raters were inattentive" in message
    message = refused(capsys, take_in(run, fill_json(page, "Ann", lambda _: "")))
    assert "no pair was rated in 1 files" in message
    assert ratings_of(run) == before
