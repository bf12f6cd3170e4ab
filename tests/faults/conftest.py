"""Runs that go on until they are ended, and engines that are let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import TrainConfig
from lora_nb.runs import control, engine, launch
from lora_nb.runs.folder import RunFolder
from tests.tiny import data, finished, home, model, options_for

__all__ = ["data", "endless", "engines", "finished", "home", "model"]

Start = Callable[..., RunFolder]


@pytest.fixture
def endless(home: Path, tmp_path: Path, runs_root: Path) -> Iterator[Start]:
    """Starts runs of a million steps, whose workers end with the test."""
    started: list[RunFolder] = []

    def start(**options: Any) -> RunFolder:
        usual = {"iters": 10**6, "adapter_path": str(tmp_path / "adapters"), "save_every": 10**6}
        config = TrainConfig(**options_for(home, **(usual | options)))
        started.append(launch.start(config))
        return started[-1]

    yield start
    for run in started:
        control.abort(run)


@pytest.fixture
def engines() -> Iterator[None]:
    """No engine before the test and none after it."""
    engine.release()
    yield
    engine.release()
