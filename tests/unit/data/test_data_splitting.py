"""Train, valid and test rows out of one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_nb.config import TrainConfig, load
from lora_nb.data.records import RecordRows, rows_of
from lora_nb.data.sources import open_splits
from lora_nb.data.splitting import PickedRows, split_rows
from lora_nb.errors import LoraError


def rows(count: int, copies: int = 1) -> list[dict[str, str]]:
    return [{"text": f"row {n}"} for n in range(count) for _ in range(copies)]


def texts(of: object) -> list[str]:
    return [row["text"] for row in of]  # type: ignore[attr-defined]


def test_every_row_lands_once_and_shares_are_kept() -> None:
    dealt = split_rows(rows_of(rows(200)), (0.8, 0.15, 0.05), 0)

    assert {name: len(part) for name, part in dealt.items()} == {
        "train": 160,
        "valid": 30,
        "test": 10,
    }
    everything = sorted(text for part in dealt.values() for text in texts(part))
    assert everything == sorted(row["text"] for row in rows(200))
    assert texts(dealt["train"]) == sorted(texts(dealt["train"]), key=lambda t: int(t[4:]))


def test_equal_rows_stay_together() -> None:
    dealt = split_rows(rows_of(rows(50, copies=3)), (0.6, 0.2, 0.2), 0)

    seen = [set(texts(part)) for part in dealt.values()]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert all(len(part) % 3 == 0 for part in dealt.values())


def test_the_seed_decides_and_the_same_seed_decides_alike() -> None:
    first, again, other = (
        texts(split_rows(rows_of(rows(100)), (0.9, 0.1), seed)["valid"]) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("\n" + "".join(json.dumps(row) + "\n" for row in rows(40)))
    options = load(TrainConfig, flags={"data": str(file), "split": "0.75/0.25"})

    splits = open_splits(options, ["train", "valid"])

    assert splits.valid is not None
    row = splits.valid[0]
    line = int(row["text"][4:]) + 2
    assert splits.valid.where(0) == f"all.jsonl:{line}" or splits.valid.where(0).endswith(
        f"all.jsonl:{line}"
    )


def test_broken_rows_are_reported_in_train(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(20)) + "{oops\n")
    options = load(TrainConfig, flags={"data": str(file), "split": "0.5/0.5"})

    splits = open_splits(options, ["train"])

    assert splits.train is not None
    with pytest.raises(LoraError, match=r"all\.jsonl:21"):
        list(splits.train)


@pytest.mark.parametrize("text", ["0.9", "0.9/0.2", "a/b", "1/0/0/0", "-0.1/1.1", "0/1", ""])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(LoraError, match=r"--split: '.*' is no split; give shares that make 1"):
        load(TrainConfig, flags={"data": "x", "split": text})


def test_a_folder_that_is_split_already(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a"}\n')
    options = load(TrainConfig, flags={"data": str(tmp_path), "split": "0.9/0.1"})

    with pytest.raises(LoraError, match=r"already has valid rows\. Leave --split out"):
        open_splits(options, ["train"])


def test_too_few_different_rows() -> None:
    with pytest.raises(LoraError, match="different rows are too few for a valid split"):
        split_rows(rows_of(rows(1, copies=10)), (0.9, 0.1), 0)


def test_rows_are_found_through_the_source() -> None:
    class Source(RecordRows):
        def find(self, text: str) -> Iterator[int]:
            asked.append(text)
            return iter([0, 2, 3, 7])

        def fingerprint(self) -> str:
            return "source"

    asked: list[str] = []
    source = Source([{"text": str(i)} for i in range(9)], "train")
    picked = PickedRows(source, [2, 5, 7], "valid")
    assert list(picked.find("x")) == [0, 2]
    assert asked == ["x"]
    prints = {
        PickedRows(source, numbers, "valid").fingerprint()
        for numbers in ([2, 5, 7], [2, 5], [2, 5, 8], [])
    }
    assert len(prints) == 4
    assert picked.fingerprint() == PickedRows(source, (2, 5, 7), "test").fingerprint()
    assert [picked.where(i) for i in range(3)] == ["train[2]", "train[5]", "train[7]"]
