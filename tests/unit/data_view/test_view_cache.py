"""When a measurement may be used again, and when not."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import DataConfig
from lora_nb.data.findings import Finding
from lora_nb.data.lengths import Lengths
from lora_nb.data.measure import Measured, SplitMeasure
from lora_nb.data.survey import open_all
from lora_nb.dataset import cache


@pytest.fixture
def config(model: Path, messy: Path, tmp_path: Path) -> DataConfig:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    return DataConfig(model=str(copy), data=str(messy))


def name_of(config: DataConfig, **changes: Any) -> str:
    changed = dataclasses.replace(config, **changes)
    key = cache.key_of(changed, open_all(changed))
    assert key is not None
    return key.name


def found(config: DataConfig) -> Measured:
    rows = {name: each.fingerprint() for name, each in open_all(config).items()}
    splits = {
        name: SplitMeasure(
            rows=3, kinds={"text": 3}, lengths=Lengths.of([1, 2, 2]), sequences=3, tokens=5,
            trained=4, cut_rows=0, cut_tokens=0, skipped=0, dropped=0, broken=(1,), padding=0.25,
            fingerprint=fingerprint,
        )
        for name, fingerprint in rows.items()
    }  # fmt: skip
    finding = Finding("warning", "cut", 2, "a:1", "v", "m.", "r.", ("a:1: m.",), "train")
    return Measured(splits=splits, findings=[finding], template="chatml")


def test_what_is_kept_is_found_again(config: DataConfig) -> None:
    key = cache.key_of(config, open_all(config))
    assert key is not None
    assert cache.find(key) is None
    cache.keep(key, found(config))
    assert cache.find(key) == found(config)
    assert not list(cache.folder().rglob("*.part"))


def test_rows_that_changed_meanwhile_are_not_kept(config: DataConfig) -> None:
    key = cache.key_of(config, open_all(config))
    assert key is not None
    with (Path(config.data) / "train.jsonl").open("a") as file:
        file.write('{"text": "late"}\n')
    cache.keep(key, found(config))
    assert cache.find(key) is None


@pytest.mark.parametrize(
    "change",
    [
        {"mask_prompt": True}, {"train_on": "assistant"}, {"max_seq_length": 9},
        {"long_rows": "split"}, {"batch_size": 9}, {"prompt_feature": "p"},
        {"trust_remote_code": True},
    ],
)  # fmt: skip
def test_options_that_matter_ask_anew(change: dict[str, Any], config: DataConfig) -> None:
    assert name_of(config, **change) != name_of(config)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_another_tokenizer_asks_anew(file: str, config: DataConfig) -> None:
    before = name_of(config)
    assert config.model is not None
    path = Path(config.model, file)
    path.write_text(path.read_text() + " ")
    assert name_of(config) != before


def test_other_rows_ask_anew(config: DataConfig) -> None:
    before = name_of(config)
    path = Path(config.data, "valid.jsonl")
    path.write_text(path.read_text().replace("Yes", "No"))
    assert name_of(config) != before


def test_a_new_file_ending_asks_anew(config: DataConfig) -> None:
    before = name_of(config)
    path = Path(config.data, "train.jsonl")
    path.write_text("\n" + path.read_text())
    assert name_of(config) != before


def test_another_template_asks_anew(config: DataConfig, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("one")
    one = name_of(config, chat_template=str(path))
    path.write_text("two")
    assert len({name_of(config), one, name_of(config, chat_template=str(path))}) == 3


def test_weights_and_places_do_not_matter(config: DataConfig, tmp_path: Path) -> None:
    before = name_of(config)
    assert config.model is not None
    Path(config.model, "model.safetensors").write_bytes(b"other")
    assert name_of(config) == before
    moved = Path(shutil.move(config.model, tmp_path / "moved"))
    copied = Path(shutil.copytree(config.data, tmp_path / "copied"))
    assert name_of(config, model=str(moved), data=str(copied)) == before


def test_another_version_asks_anew(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    before = name_of(config)
    monkeypatch.setattr("lora_nb.__version__", "99")
    assert name_of(config) != before


@pytest.mark.parametrize("name", ["owner/not-here", "not a name!", "./missing"])
def test_a_model_that_is_not_here_has_no_key(name: str, config: DataConfig) -> None:
    absent = dataclasses.replace(config, model=name)
    assert cache.key_of(absent, open_all(absent)) is None


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"splits": {"train": {}}}'])
def test_a_damaged_file_is_not_used(text: str, config: DataConfig) -> None:
    key = cache.key_of(config, open_all(config))
    assert key is not None
    cache.keep(key, found(config))
    (path,) = (cache.folder() / "reports").iterdir()
    path.write_text(text)
    assert cache.find(key) is None


def test_a_place_that_cannot_be_written_costs_nothing_else(
    config: DataConfig, cache_place: Path
) -> None:
    cache_place.write_text("a file where the folder should be")
    key = cache.key_of(config, open_all(config))
    assert key is not None
    cache.keep(key, found(config))
    cache.tidy()
    assert cache.find(key) is None


def test_only_so_many_are_kept(cache_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", 3)
    reports = cache_place / "reports"
    reports.mkdir(parents=True)
    for number in range(6):
        path = reports / f"{number}.json"
        path.write_text("{}")
        os.utime(path, (number, number))
    cache.tidy()
    assert sorted(path.name for path in reports.iterdir()) == ["3.json", "4.json", "5.json"]
