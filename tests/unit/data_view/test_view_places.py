"""A row is found by its number, its split and number, or its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_nb.config import DataConfig
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.records import ConcatRows, RecordRows
from lora_nb.data.sources import Splits
from lora_nb.data.survey import open_all
from lora_nb.dataset.places import find_row
from lora_nb.errors import LoraError


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    # Line 3 is blank.
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n\n{"text": "c"}\n')
    (tmp_path / "valid.jsonl").write_text('{"text": "d"}\n')
    return open_all(DataConfig(data=str(tmp_path)))


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        (0, ("train", 0)), (2, ("train", 2)), (-1, ("train", 2)),
        ("2", ("train", 2)), (" -3 ", ("train", 0)),
        ("train:2", ("train", 2)), ("valid:0", ("valid", 0)), ("valid[0]", ("valid", 0)),
        ("train.jsonl:4", ("train", 2)), ("train.jsonl:1", ("train", 0)),
        ("valid.jsonl:1", ("valid", 0)),
    ],
)  # fmt: skip
def test_a_row_is_found(place: int | str, wanted: tuple[str, int], splits: Splits) -> None:
    name, rows, number = find_row(splits, place)
    assert (name, number) == wanted
    assert rows is getattr(splits, name)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (3, "There is no row 3 in train (it has 3: 0 to 2)."),
        ("valid:7", "There is no row 7 in valid (it has 1: 0 to 0)."),
        ("train.jsonl:3", "There is no row at train.jsonl:3; the last one is train.jsonl:4."),
        ("train.jsonl:9", "There is no row at train.jsonl:9; the last one is train.jsonl:4."),
        ("vaild:1", "There is neither a split nor a file 'vaild'. Did you mean 'valid'?"),
        ("test.jsonl:1", "There is neither a split nor a file 'test.jsonl'."),
        ("seventeen", "'seventeen' names no row. Write 17, valid:17 or valid.jsonl:17."),
        ("", "'' names no row. Write 17, valid:17 or valid.jsonl:17."),
    ],
)
def test_a_row_that_is_not_there_says_what_is(
    place: int | str, message: str, splits: Splits
) -> None:
    with pytest.raises(LoraError) as caught:
        find_row(splits, place)
    assert str(caught.value).startswith(message)


def test_rows_without_a_file_are_found_as_messages_name_them() -> None:
    rows = RecordRows([{"text": str(i)} for i in range(20)], "train")
    splits = Splits(train=rows)
    assert find_row(splits, rows.where(11))[2] == 11


def test_rows_of_several_files_are_found_by_their_own_names(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    parts = [JsonlRows(tmp_path / f"{name}.jsonl", "train") for name in ("one", "two", "three")]
    splits = Splits(train=ConcatRows(parts, "train"))
    assert find_row(splits, "one.jsonl:2")[2] == 1
    assert find_row(splits, "three.jsonl:1")[2] == 4


def test_rows_dealt_out_to_splits_are_found_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("".join(f'{{"text": "{i}"}}\n' for i in range(40)))
    splits = open_all(DataConfig(data=str(path), split="0.5/0.25/0.25"))
    found = {find_row(splits, f"all.jsonl:{line}")[0] for line in range(1, 41)}
    assert found == {"train", "valid", "test"}
    for line in (1, 17, 40):
        _, rows, number = find_row(splits, f"all.jsonl:{line}")
        assert rows.where(number) == f"all.jsonl:{line}"
        assert rows[number] == {"text": str(line - 1)}


def test_an_empty_split_has_no_rows() -> None:
    with pytest.raises(LoraError, match=r"no row 0 in train \(it has 0: none\)"):
        find_row(Splits(train=RecordRows([], "train")), 0)
