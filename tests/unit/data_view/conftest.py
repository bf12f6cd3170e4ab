"""Messy and hostile rows, a cache of one test's own, and a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_nb.dataset import cache
from lora_nb.runs import engine
from tests.tiny import data, home, model
from tests.unit.commands.conftest import shell
from tests.unit.data.conftest import encoder, tokenizer, tokenizers
from tests.unit.data_view.rows import HOSTILE_ROWS, MESSY_ROWS

__all__ = ["data", "encoder", "home", "model", "shell", "tokenizer", "tokenizers"]


@pytest.fixture(autouse=True)
def cache_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's measurements."""
    place = tmp_path / "cache"
    monkeypatch.setattr(cache, "folder", lambda: place)
    return place


@pytest.fixture(scope="session", autouse=True)
def engine_ends() -> Iterator[None]:
    """No engine outlives these tests."""
    yield
    engine.release()


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Rows with a fault of each of several kinds."""
    return _written(tmp_path / "messy", MESSY_ROWS)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Rows that would run in a browser if they were taken for HTML."""
    return _written(tmp_path / "hostile", HOSTILE_ROWS)


def _written(folder: Path, rows: list[object]) -> Path:
    folder.mkdir()
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "train.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    valid = {"prompt": "Is it in both?", "completion": "Yes."}
    (folder / "valid.jsonl").write_text(json.dumps(valid) + "\n", encoding="utf-8")
    return folder
