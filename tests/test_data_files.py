"""Files to examples: every type and layout, and what each kind of bad input says."""

from __future__ import annotations

import csv
import gzip
import json
import resource
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.errors import DataError
from evals.records import Example
from imitate.config import DataConfig, FileSource
from imitate.data import SourceCard, open_source, prepare, read_examples
from imitate.data.arrays import ArrayCutter

ROWS = [{"prompt": f"Question {i}?", "response": f"Answer, number {i}."} for i in range(5)]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, data: DataConfig | None = None, **source: Any) -> list[Example]:
    return list(read_examples(FileSource(kind="file", path=path, **source), data or DataConfig()))


def read_with_card(
    path: Path, data: DataConfig | None = None, **source: Any
) -> tuple[list[Example], SourceCard]:
    file = FileSource(kind="file", path=path, **source)
    card = open_source(file)
    return list(read_examples(file, data or DataConfig(), card)), card


def pairs(examples: list[Example]) -> list[tuple[str, str]]:
    return [(example.prompt, example.response) for example in examples]


EXPECTED = [(row["prompt"], row["response"]) for row in ROWS]


# --- file types -----------------------------------------------------------------------------------


def make_file(kind: str, path: Path) -> Path:
    if kind == "jsonl":
        write_lines(path, ROWS)
    elif kind == "json":
        path.write_text(json.dumps(ROWS, indent=2))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if kind == "tsv" else ","
            writer = csv.DictWriter(file, ["prompt", "response"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_every_file_type_gives_the_same_examples(
    tmp_path: Path, kind: str, is_gzipped: bool
) -> None:
    path = make_file(kind, tmp_path / f"rows.{kind}")
    if is_gzipped:
        zipped = tmp_path / f"rows.{kind}.gz"
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        path = zipped
    assert pairs(read(path)) == EXPECTED


def test_ids_name_file_and_line(tmp_path: Path) -> None:
    examples = read(make_file("jsonl", tmp_path / "rows.jsonl"))
    assert [example.example_id for example in examples[:2]] == ["rows.jsonl:1", "rows.jsonl:2"]
    examples = read(make_file("csv", tmp_path / "rows.csv"))
    assert examples[0].example_id == "rows.csv:2"


def test_json_file_with_an_object_a_line_is_read_as_lines(tmp_path: Path) -> None:
    assert pairs(read(write_lines(tmp_path / "rows.json", ROWS))) == EXPECTED


def test_type_is_told_by_content_where_the_name_does_not_say(tmp_path: Path) -> None:
    assert pairs(read(make_file("parquet", tmp_path / "rows.bin"))) == EXPECTED
    assert pairs(read(make_file("json", tmp_path / "rows"))) == EXPECTED


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = make_file("csv", tmp_path / "rows.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert pairs(read(path)) == EXPECTED


def test_csv_field_may_hold_line_ends_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,response\n"a ""b""\nc",d\ne,f\n')
    assert pairs(read(path)) == [('a "b"\nc', "d"), ("e", "f")]
    assert [e.example_id for e in read(path)] == ["rows.csv:2", "rows.csv:4"]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 1000])
def test_array_is_cut_right_wherever_chunks_end(chunk_bytes: int) -> None:
    rows: list[Any] = [
        {"a": 'quote " and \\ backslash', "b": ["]", "}", {"c": ","}]},
        {"a": "\\"},
        7,
        "x,y",
        {},
    ]
    text = json.dumps(rows, indent=1).encode()
    cutter = ArrayCutter(1000)
    found = [
        element
        for i in range(0, len(text), chunk_bytes)
        for element in cutter.feed(text[i : i + chunk_bytes])
    ]
    assert [json.loads(element or b"") for _, element in found] == rows
    lines = text.decode().split("\n")
    assert [lines[line - 1].strip()[:1] for line, _ in found] == ["{", "{", "7", '"', "{"]
    assert cutter.is_closed


def test_empty_array_has_no_elements() -> None:
    cutter = ArrayCutter(1000)
    assert list(cutter.feed(b" [ \n ] ")) == []
    assert cutter.is_closed


# --- layouts --------------------------------------------------------------------------------------

HELLO = [("Hi", "Hello!")]


@pytest.mark.parametrize(
    ("layout", "row", "expected"),
    [
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello!"},
                ]
            },
            HELLO,
        ),
        (
            "messages",
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {"role": "assistant", "content": "Hello!"},
                ]
            },
            [("Be brief.\n\nHi", "Hello!")],
        ),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "gpt", "value": "leading"},
                    {"from": "human", "value": "Hi"},
                    {"from": "gpt", "value": "Hello!"},
                    {"from": "human", "value": "And?"},
                    {"from": "gpt", "value": "Nothing."},
                ]
            },
            HELLO,
        ),
        ("alpaca", {"instruction": "Hi", "input": "", "output": "Hello!"}, HELLO),
        (
            "alpaca",
            {"instruction": "Add", "input": "1, 2", "response": "3"},
            [("Add\n\n1, 2", "3")],
        ),
        ("completion", {"prompt": "Hi", "completion": "Hello!"}, HELLO),
        (
            "hc3",
            {"question": "Hi", "human_answers": ["yo"], "chatgpt_answers": ["Hello!", "Hey."]},
            [("Hi", "Hello!"), ("Hi", "Hey.")],
        ),
    ],
)
def test_layout_is_recognised(
    tmp_path: Path, layout: str, row: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [row])
    examples, card = read_with_card(path)
    assert pairs(examples) == expected
    assert card.layout == layout
    assert pairs(read(path, format=layout)) == expected


def test_later_turns_are_counted(tmp_path: Path) -> None:
    turns = [{"from": who, "value": "x"} for who in ("human", "gpt", "human", "gpt")]
    path = write_lines(tmp_path / "rows.jsonl", [{"conversations": turns}])
    assert read_with_card(path)[1].later_turns == 1


def test_any_two_columns_by_name(tmp_path: Path) -> None:
    row = {"q": "Hi", "reply": "Hello!", "topic": 3, "licence": "MIT"}
    path = write_lines(tmp_path / "rows.jsonl", [row])
    examples, card = read_with_card(
        path, prompt_column="q", response_column="reply", category_column="topic"
    )
    assert pairs(examples) == HELLO
    assert examples[0].category == "3"
    assert card.layout == "columns"
    assert card.licences == {"MIT": 1}


def test_keep_where_keeps_and_counts(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "response": "b", "ok": i % 2 == 0} for i in range(5)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    examples, card = read_with_card(path, keep_where={"ok": True})
    assert (len(examples), card.unwanted_rows, card.rows) == (3, 2, 5)


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a\\ud83d", "response": "b"}\n')
    assert read(path)[0].prompt == "a\ufffd"


# --- bad input ------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*absent\.jsonl") as caught:
        read(tmp_path / "absent.jsonl")
    assert "working directory" in str(caught.value.hint)


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Is a directory"):
        read(tmp_path)


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a", "response": "b"}\n' + '{"prompt": "é"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="line 2 is not UTF-8: byte 0xe9 at byte 13") as caught:
        read(path)
    assert caught.value.where == f"{path}:2"


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,response\na,b\n\xff,c\n")
    with pytest.raises(DataError, match="line 3 is not UTF-8: byte 0xff"):
        read(path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_truncated_gzip(tmp_path: Path, kind: str) -> None:
    whole = gzip.compress(make_file(kind, tmp_path / f"rows.{kind}").read_bytes())
    path = tmp_path / f"rows.{kind}.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"rows\.{kind}\.gz is a damaged gzip file") as caught:
        read(path)
    assert "cut short" in str(caught.value.hint)


def test_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in ROWS]
    lines[2] = lines[2][:20]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 3 is not JSON: Unterminated string") as caught:
        read(path)
    assert caught.value.where == f"{path}:3"
    assert "max_bad_lines" in str(caught.value.hint)


def test_so_many_bad_lines_as_allowed_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(ROWS[0]), "{", "[1]", json.dumps(ROWS[1])]))
    examples, card = read_with_card(path, DataConfig(max_bad_lines=2))
    assert pairs(examples) == EXPECTED[:2]
    assert card.bad_lines == 2
    message = r"line 3 holds a list, not an object .* `data.max_bad_lines` allows 1"
    with pytest.raises(DataError, match=message):
        read(path, DataConfig(max_bad_lines=1))


def test_deeply_nested_line_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": ' + "[" * 100_000 + "\n")
    with pytest.raises(DataError, match="line 1 is not JSON"):
        read(path)


def test_broken_element_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[\n{"prompt": "a", "response": "b"},\n{"prompt": a}\n]')
    with pytest.raises(DataError, match="line 3 is not JSON"):
        read(path)


def test_array_that_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[\n{"prompt": "a", "response": "b"},\n{"prompt": "c')
    with pytest.raises(DataError, match="ends inside the row that starts at line 3"):
        read(path)


def test_csv_row_with_too_many_fields(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response\na,b\nc,d,e\n")
    with pytest.raises(DataError, match="line 3 has 3 fields, the header has 2"):
        read(path)


def test_csv_quotation_mark_that_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,response\na,b\n"c,d\n')
    with pytest.raises(DataError, match="line 3 is not CSV: unexpected end of data"):
        read(path)


def test_parquet_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("not at all")
    with pytest.raises(DataError, match=r"rows\.parquet cannot be read as Parquet"):
        read(path)


def test_unknown_file_type(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("just text\n")
    with pytest.raises(DataError, match=r"cannot tell what kind of file rows\.txt is") as caught:
        read(path)
    assert ".parquet" in str(caught.value.hint)


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "prompt,response\n"])
def test_file_without_rows(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("rows.csv" if "," in content else "rows.jsonl")
    path.write_text(content)
    with pytest.raises(DataError, match="holds no rows"):
        read(path)


def test_unknown_layout_lists_columns_and_formats(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [{"ask": "a", "reply": "b"}])
    message = "format not recognised; columns are ask, reply"
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert caught.value.where == f"{path}:1"
    assert "messages, sharegpt, alpaca, completion, hc3, columns" in str(caught.value.hint)


def test_named_layout_that_does_not_fit(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match="do not look like `format: alpaca`") as caught:
        read(path, format="alpaca")
    assert "`instruction`" in str(caught.value.hint)


def test_named_column_that_is_missing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [{"user_query": "a", "reply": "b"}])
    with pytest.raises(DataError, match=r"no column `user_qeury` \(`prompt_column`\)") as caught:
        read(path, prompt_column="user_qeury", response_column="reply")
    assert caught.value.hint == "did you mean `user_query`?"


def test_columns_layout_needs_both_columns(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match="needs `response_column`; columns are prompt, response"):
        read(path, format="columns", prompt_column="prompt")


@pytest.mark.parametrize("n_rows", [3, 150])
def test_filter_column_that_no_row_has(tmp_path: Path, n_rows: int) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [ROWS[0] | {"label": "x"}] * n_rows)
    with pytest.raises(DataError, match=r"no column `lable` \(`keep_where\.lable`\)") as caught:
        read(path, keep_where={"lable": "x"})
    assert caught.value.hint == "did you mean `label`?"


def test_filter_that_keeps_nothing_tells_the_values(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"bad": "no"}] * 2 + [ROWS[0] | {"bad": "yes"}]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    message = r"dropped all 3 rows .* wanted bad = false; seen no \(2\), yes \(1\)"
    with pytest.raises(DataError, match=message) as caught:
        read(path, keep_where={"bad": False})
    assert "quote it" in str(caught.value.hint)


def test_row_with_an_object_for_text_is_a_bad_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [ROWS[0], {"prompt": {"a": 1}, "response": "b"}])
    with pytest.raises(DataError, match="line 2 has a dict where text should be") as caught:
        read(path)
    assert caught.value.where == f"{path}:2"


# --- rows of 10 MB --------------------------------------------------------------------------------


def write_giant(path: Path, kind: str, n_bytes: int) -> Path:
    giant = {"prompt": "a", "response": "word " * (n_bytes // 5)}
    rows = [ROWS[0], giant, ROWS[1]]
    if kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "jsonl":
        write_lines(path, rows)
    else:
        lines = ["prompt,response", *(f'"{row["prompt"]}","{row["response"]}"' for row in rows)]
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_giant_row_is_dropped_and_counted(tmp_path: Path, kind: str) -> None:
    path = write_giant(tmp_path / f"rows.{kind}", kind, 3_000_000)
    examples, card = read_with_card(path, DataConfig(max_row_bytes=1_000_000))
    assert pairs(examples) == EXPECTED[:2]
    assert (card.oversize_rows, card.rows) == (1, 2)
    last_line = {"jsonl": 3, "json": 1, "csv": 4}[kind]
    assert examples[-1].example_id == f"rows.{kind}:{last_line}"


def test_giant_row_of_parquet_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}]}
        for text in ("Hello!", "x" * 2000)
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    examples, card = read_with_card(path, DataConfig(max_row_bytes=1000))
    assert pairs(examples) == HELLO
    assert card.oversize_rows == 1


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_memory_stays_bounded_over_giant_rows(tmp_path: Path, kind: str) -> None:
    path = write_giant(tmp_path / f"rows.{kind}", kind, 100_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, card = read_with_card(path)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert card.oversize_rows == 1
    assert grown_mb < 70


def test_default_limit_drops_ten_megabytes_through_the_whole_stage(tmp_path: Path) -> None:
    path = write_giant(tmp_path / "rows.jsonl", "jsonl", 10_000_000)
    source = FileSource(kind="file", path=path)
    card, data = open_source(source), DataConfig(held_out=0.0)
    prepared = prepare(read_examples(source, data, card), data, sources=[card])
    assert len(prepared.train) == 2
    assert "1 oversize rows dropped unread" in str(prepared.card)
