"""What a cleaned copy holds, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_nb.data.cleaning import Cleaned, clean, lines_of
from lora_nb.data.doctor import check
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.records import rows_of
from lora_nb.data.sources import Splits
from lora_nb.data.tokens import Encoder
from tests.unit.data.kit import Options, write
from tests.unit.data.test_data_bad_rows import BAD, GOOD


def row(prompt: str, completion: str = "yes") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def account(cleaned: Cleaned) -> list[tuple[str, str, int, str]]:
    return [(each.split, each.code, each.count, each.where) for each in cleaned.changes]


@pytest.mark.parametrize("case", BAD)
def test_every_bad_row_is_dropped_and_named(case: str, encoder: Encoder, tmp_path: Path) -> None:
    line, code, message = BAD[case]
    rows = JsonlRows(write(tmp_path, "train.jsonl", GOOD, line, '{"text": "b"}'), "train")
    cleaned = clean(Splits(train=rows), Options())
    assert cleaned.kept == {"train": [0, 2]}
    (change,) = cleaned.changes
    assert (change.code, change.where) == (code, "train.jsonl:2")
    assert f"{change.message} ".startswith(message[: len(change.message)])
    kept = list(lines_of(rows, [0, 2]))
    assert kept == [GOOD.encode(), b'{"text": "b"}']
    copy = JsonlRows(write(tmp_path, "copy.jsonl", *kept), "train")
    assert check(Splits(train=copy), encoder, Options()) == []


def test_what_is_kept_is_the_same_bytes(tmp_path: Path) -> None:
    lines = [
        b'{"text":"a",  "z": 1.50, "a": 1e400, "n": 12345678901234567890123}',
        '{"b": "ü", "text": "gr\\u00fc\\ud83d\\ude42 日本"}'.encode(),
        b'{"text": "\\/ \\u0041", "x": {"k": [1, 2], "k": 3}, "half": "\\ud83d"}',
    ]
    raw = b"\xef\xbb\xbf  " + lines[0] + b" \r\n\r\n \t\n" + lines[1] + b"\r\n" + lines[2]
    path = tmp_path / "train.jsonl"
    path.write_bytes(raw)
    rows = JsonlRows(path, "train")
    cleaned = clean(Splits(train=rows), Options())
    assert account(cleaned) == [
        ("train", "bom", 1, "train.jsonl"),
        ("train", "crlf", 2, "train.jsonl"),
        ("train", "blank", 2, "train.jsonl"),
    ]
    assert list(lines_of(rows, cleaned.kept["train"])) == lines
    copy = JsonlRows(write(tmp_path, "copy.jsonl", *lines_of(rows, [0, 1, 2])), "train")
    assert [json.dumps(each) for each in copy] == [json.dumps(each) for each in rows]


def test_of_equal_rows_the_first_stays() -> None:
    rows = rows_of([row("a"), {**row("a"), "id": 7}, row("b"), row("A"), row("a")])
    cleaned = clean(Splits(train=rows), Options())
    assert cleaned.kept == {"train": [0, 2, 3]}
    assert account(cleaned) == [("train", "duplicate", 2, "train[1]")]
    assert cleaned.changes[0].message == "the row is the same as train[0], which stays."


def test_held_out_rows_stay() -> None:
    splits = Splits(
        train=rows_of([row("a"), row("b"), row("c"), row("a")]),
        valid=rows_of([row("b"), row("c"), row("d"), row("d")], "valid"),
        test=rows_of([row("c"), row("e")], "test"),
    )
    cleaned = clean(splits, Options())
    assert cleaned.kept == {"train": [0], "valid": [0, 2], "test": [0, 1]}
    assert account(cleaned) == [
        ("train", "leak", 2, "train[1]"),
        ("train", "duplicate", 1, "train[3]"),
        ("valid", "leak", 1, "valid[1]"),
        ("valid", "duplicate", 1, "valid[3]"),
    ]
    assert cleaned.changes[0].lines[1] == (
        "train[2]: the row is also held out (test[0]), where it stays."
    )


@pytest.mark.parametrize(("bad", "part"), [
    ({"text": " \n"}, "the text"),
    (row("", "a"), "the prompt"),
    (row("a", "  "), "the completion"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
     "message 2"),
])  # fmt: skip
def test_empty_rows_go(bad: dict[str, Any], part: str) -> None:
    cleaned = clean(Splits(train=rows_of([row("x"), bad])), Options())
    assert cleaned.kept == {"train": [0]}
    assert cleaned.changes[0].message == f"{part} is empty."


def test_rows_that_only_warn_stay() -> None:
    rows = [
        {"messages": [{"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "a"}]},
        {"text": "long " * 5000},
    ]
    cleaned = clean(Splits(train=rows_of(rows)), Options(max_seq_length=4))
    assert cleaned.kept == {"train": [0, 1, 2, 3]}
    assert cleaned.changes == []


def test_a_model_has_the_last_word_on_its_rows() -> None:
    critic = {"messages": [{"role": "critic", "content": "a"}]}
    rows = rows_of([row("a"), row("b"), critic, {"text": 1}])
    assert clean(Splits(train=rows), Options()).kept == {"train": [0, 1]}
    cleaned = clean(Splits(train=rows), Options(), {"train": [1, 3]})
    assert cleaned.kept == {"train": [0, 2]}
    assert account(cleaned) == [
        ("train", "refused", 1, "train[1]"),
        ("train", "type", 1, "train[3]"),
    ]


def test_a_file_that_cannot_be_read_is_left_out() -> None:
    splits = Splits(train=rows_of([row("a")]), unreadable={"test": "test.jsonl: is UTF-16 text."})
    assert account(clean(splits, Options())) == [("test", "unreadable", 1, "")]
