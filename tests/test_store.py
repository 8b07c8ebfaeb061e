"""Cells are written whole or not at all, and checked when they are read."""

import errno
import multiprocessing
import time
from pathlib import Path

import pytest

from evals.errors import RunError
from imitate.store import Store, file_hash, fingerprint, source_hash


def write_text(text: str):
    def write(folder: Path, work: Path) -> None:
        (folder / "out.txt").write_text(text, encoding="utf-8")

    return write


def test_a_cell_is_found_again(tmp_path: Path) -> None:
    cell, is_new = Store(tmp_path).compute("data", "k", write_text("a"), {})
    found = Store(tmp_path).find("data", "k")
    assert is_new
    assert found is not None
    assert found.digest == cell.digest
    assert (found.folder / "out.txt").read_text() == "a"


def test_a_failed_cell_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path, work: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Store(tmp_path).compute("data", "k", fail, {})
    assert Store(tmp_path).find("data", "k") is None
    assert list((tmp_path / "cells" / "data").iterdir()) == []


def test_what_a_killed_process_was_writing_goes_with_the_next_one(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def fail(folder: Path, work: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise Killed

    with pytest.MonkeyPatch.context() as kept:
        kept.setattr("shutil.rmtree", lambda *_, **__: None)  # nothing is cleaned up
        with pytest.raises(Killed):
            Store(tmp_path).compute("data", "k", fail, {})
    assert len(list((tmp_path / "cells" / "data").iterdir())) == 1
    cell, _ = Store(tmp_path).compute("data", "k", write_text("a"), {})
    assert list((tmp_path / "cells" / "data").iterdir()) == [cell.folder]
    assert not (cell.folder / "half.txt").exists()


def test_work_folders_survive_a_failure_and_go_with_success(tmp_path: Path) -> None:
    def fail(folder: Path, work: Path) -> None:
        (work / "checkpoint").write_text("7")
        raise ValueError("killed")

    store = Store(tmp_path)
    with pytest.raises(ValueError, match="killed"):
        store.compute("train", "k", fail, {})

    def resume(folder: Path, work: Path) -> None:
        (folder / "out.txt").write_text((work / "checkpoint").read_text())

    cell, _ = store.compute("train", "k", resume, {})
    assert (cell.folder / "out.txt").read_text() == "7"
    assert not (tmp_path / "work" / "k").exists()


@pytest.mark.parametrize("name", ["out.txt", "cell.json"])
def test_a_flipped_byte_is_noticed_and_said(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cell, _ = Store(tmp_path).compute("data", "k", write_text("some text"), {})
    path = cell.folder / name
    content = bytearray(path.read_bytes())
    position = content.find(b'"digest"') + 14 if name == "cell.json" else 3
    content[position] ^= 1
    path.write_bytes(bytes(content))
    assert Store(tmp_path).find("data", "k") is None
    assert "is damaged" in caplog.text


def test_timing_files_are_no_part_of_a_digest(tmp_path: Path) -> None:
    def write(seconds: str):
        def inner(folder: Path, work: Path) -> None:
            (folder / "out.txt").write_text("same")
            (folder / "timing.json").write_text(seconds)

        return inner

    store = Store(tmp_path)
    first, _ = store.compute("train", "a", write("1"), {})
    second, _ = store.compute("train", "b", write("2"), {})
    assert first.digest == second.digest


def compute_slowly(root: Path, log: Path) -> None:
    def write(folder: Path, work: Path) -> None:
        time.sleep(0.3)
        with log.open("a") as file:
            file.write("computed\n")
        (folder / "out.txt").write_text("x")

    Store(root).compute("data", "k", write, {})


def test_two_processes_compute_a_cell_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    workers = [context.Process(target=compute_slowly, args=(tmp_path, log)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert log.read_text() == "computed\n"


def test_a_full_disk_is_told_and_keeps_what_is_finished(tmp_path: Path) -> None:
    def fail(folder: Path, work: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(tmp_path)
    store.compute("data", "done", write_text("a"), {})
    with pytest.raises(RunError, match=r"the disk is full.*finished cells are kept"):
        store.compute("data", "k", fail, {})
    assert Store(tmp_path).find("data", "done") is not None


def test_a_forced_cell_is_in_its_place_until_the_new_one_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, _ = store.compute("data", "k", write_text("old"), {})

    def write(folder: Path, work: Path) -> None:
        assert not list(work.iterdir())
        assert (old.folder / "out.txt").read_text() == "old"
        (folder / "out.txt").write_text("new")

    new, is_new = store.compute("data", "k", write, {}, anew=True)
    assert is_new
    assert (new.folder / "out.txt").read_text() == "new"
    assert Store(tmp_path).find("data", "k") == new
    assert [path.name for path in old.folder.parent.iterdir()] == ["k"]


def test_a_forced_cell_that_fails_keeps_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.compute("data", "k", write_text("old"), {})

    def fail(folder: Path, work: Path) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        store.compute("data", "k", fail, {}, anew=True)
    assert Store(tmp_path).find("data", "k") is not None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_cell_that_the_disk_does_not_give_is_an_error_and_stays(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, _ = Store(tmp_path).compute("data", "k", write_text("a"), {})

    def fail(*_: object) -> None:
        raise OSError(number, "not now")

    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", fail)
        with pytest.raises(RunError, match=r"cannot be read: .*not now"):
            Store(tmp_path).find("data", "k")
    assert Store(tmp_path).find("data", "k") == cell


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("in the way")
    with pytest.raises(RunError, match=r"the store cannot be written: .*cells"):
        Store(tmp_path).compute("data", "k", write_text("a"), {})


def test_a_damaged_cell_is_replaced(tmp_path: Path) -> None:
    cell, _ = Store(tmp_path).compute("data", "k", write_text("some text"), {})
    (cell.folder / "out.txt").unlink()
    found, is_new = Store(tmp_path).compute("data", "k", write_text("some text"), {})
    assert is_new
    assert (found.folder / "out.txt").read_text() == "some text"


def test_a_file_that_changes_within_a_process_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    before = file_hash(path)
    path.write_text("three")
    assert file_hash(path) != before


def test_fingerprints_ignore_the_order_of_keys_only() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})


def test_source_hash_covers_a_package_and_a_module() -> None:
    assert source_hash(("imitate.store",)) != source_hash(("imitate.lab",))
