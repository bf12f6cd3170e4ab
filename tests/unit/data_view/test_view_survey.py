"""Data is looked at without a tokenizer: at once, and at a sample of it if it is large."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_nb.config import DataConfig
from lora_nb.data.lengths import Lengths
from lora_nb.data.survey import open_all, survey
from lora_nb.errors import LoraError


def test_shapes_and_faults(messy: Path) -> None:
    config = DataConfig(data=str(messy))
    found = survey(open_all(config), config)
    train = found.shapes["train"]
    assert (train.rows, train.seen) == (9, 9)
    assert train.kinds == {"completions": 4, "chat": 2}
    assert list(train.keys) == ["completion", "prompt", "messages", "promt"]
    assert train.characters.counts == ((3, 1), (7, 1), (18, 1), (23, 2), (38, 1))
    codes = [(each.severity, each.code, each.where) for each in found.findings]
    assert codes == [
        ("error", "json", "train.jsonl:3"),
        ("error", "keys", "train.jsonl:5"),
        ("error", "null", "train.jsonl:7"),
        ("error", "role", "train.jsonl:9"),
        ("warning", "duplicate", "train.jsonl:4"),
        ("warning", "leak_train", "valid.jsonl:1"),
        ("info", "mixed", "train"),
        ("info", "few_rows", "valid"),
    ]


def test_nothing_is_said_of_a_tokenizer_that_is_not_there(messy: Path) -> None:
    config = DataConfig(data=str(messy), mask_prompt=True)
    codes = {each.code for each in survey(open_all(config), config).findings}
    assert not codes & {"no_template", "no_eos", "no_end", "no_target", "template"}


def test_a_large_split_is_sampled_evenly(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * i}) + "\n" for i in range(1000)))
    config = DataConfig(data=str(path))
    found = survey(open_all(config), config, most=999, sample=10)
    shape = found.shapes["train"]
    assert (shape.rows, shape.seen) == (1000, 10)
    assert [size for size, _ in shape.characters.counts][::9] == [0, 999]
    (said,) = [each for each in found.findings if each.code == "sample"]
    assert said.message == "10 of 1,000 rows were looked at, spread evenly."
    assert said.severity == "info"
    whole = survey(open_all(config), config, most=1000, sample=10)
    assert whole.shapes["train"].seen == 1000
    assert "sample" not in [each.code for each in whole.findings]


def test_all_splits_are_opened_and_none_must_hold_rows(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "valid.jsonl").write_text("")
    config = DataConfig(data=str(tmp_path))
    splits = open_all(config)
    assert [name for name, _ in splits.items()] == ["valid", "test"]
    assert splits.used == {"valid", "test"}
    (empty, *_) = survey(splits, config).findings
    assert (empty.severity, empty.code, empty.split) == ("warning", "no_rows", "valid")


def test_a_single_file_is_the_train_split(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "x"}\n')
    (split,) = open_all(DataConfig(data=str(path))).items()
    assert split[0] == "train"
    assert split[1].where(0) == "mine.jsonl:1"


def test_a_folder_without_splits_says_so(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match=r"has none of train\.jsonl, valid\.jsonl and test\.jsonl"):
        open_all(DataConfig(data=str(tmp_path)))


def test_quantiles_are_lengths_that_occur() -> None:
    lengths = Lengths.of([5, 1, 1, 9])
    assert [lengths.quantile(share) for share in (0, 0.5, 0.75, 0.95, 1)] == [1, 1, 5, 9, 9]
    assert (len(lengths), lengths.total, lengths.above(4)) == (4, 16, 2)
    assert Lengths().quantile(0.5) == 0
    assert not Lengths()
