"""Text is found in rows, however it is written in the file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lora_nb.data import jsonl
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.records import ConcatRows, rows_of

ROWS: list[dict[str, Any]] = [
    {"text": 'He said "now" and left\nat noon.'},
    {"text": "GRÜSSE aus Zürich"},
    {"text": "a/b <tag> it's 5 > 4 & more", "n": 12345},
    {"messages": [{"role": "user", "content": "deep\tdown \\ here"}]},
    {"text": "日本語 🙂 and ÇA VA"},
    {"Key Name": None, "text": ""},
]
ASKED = {
    "now": [0], "NOON": [0], '"now"': [0], "left\nat": [0], "nat noon": [],
    "grüsse": [1], "ZÜRICH": [1], "über": [],
    "A/B": [2], "<TAG>": [2], "it's": [2], "5 > 4 &": [2], "12345": [2],
    "deep\tdown": [3], "\\ HERE": [3], "role": [3],
    "日本": [4], "🙂": [4], "ça va": [4],
    "key name": [5], "null": [5], "text": [0, 1, 2, 4, 5], "zebra": [], "[{": [], '": "': [],
}  # fmt: skip


def _escaping(row: dict[str, Any]) -> str:
    """As writers do that want their JSON to fit into a web page."""
    text = json.dumps(row)
    for char in "<>&'":
        text = text.replace(char, f"\\u{ord(char):04X}")
    return text.replace("/", "\\/")


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "ascii": json.dumps,
    "utf-8": lambda row: json.dumps(row, ensure_ascii=False),
    "escaping": _escaping,
    "capitals": lambda row: json.dumps(row).replace("\\u00fc", "\\u00FC"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("text", ASKED)
def test_text_is_found_however_it_is_written(writer: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(WRITERS[writer], ROWS)), encoding="utf-8")
    assert list(JsonlRows(path, "train").find(text)) == ASKED[text]
    assert list(rows_of(ROWS).find(text)) == ASKED[text]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_the_size_of_blocks_makes_no_difference(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [_escaping(row) if i % 2 else json.dumps(row) for i, row in enumerate(ROWS)]
    path.write_text("\n\n  \n".join(lines) + "\n", encoding="utf-8")
    rows = JsonlRows(path, "train")
    monkeypatch.setattr(jsonl, "_BLOCK", block)
    for text, numbers in ASKED.items():
        assert list(rows.find(text)) == numbers, text


def test_every_row_is_found_once_and_in_order(tmp_path: Path) -> None:
    random.seed(0)
    rows = [
        {"text": random.choice(["aha ", "AHA", "oh"]) * random.randint(1, 4)} for _ in range(99)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\r\n" for row in rows), encoding="utf-8-sig")
    wanted = [i for i, row in enumerate(rows) if "aha" in row["text"].lower()]
    assert list(JsonlRows(path, "train").find("Aha")) == wanted
    assert list(islice(JsonlRows(path, "train").find("Aha"), 2)) == wanted[:2]


def test_a_broken_line_is_found_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x"}\n{"text": "never ENDED\n', encoding="utf-8")
    assert list(JsonlRows(path, "train").find("never ended")) == [1]


def test_joined_rows_are_searched_as_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    rows = ConcatRows([rows_of([{"text": "two"}]), JsonlRows(path, "train")], "train")
    assert list(rows.find("TWO")) == [0, 2]


def test_a_row_of_odd_values_is_searched(tmp_path: Path) -> None:
    rows = rows_of([{"a": {"b": [1.5, True, {"c": ("deep",)}]}}, 3])
    assert list(rows.find("DEEP")) == list(rows.find("true")) == list(rows.find("1.5")) == [0]
