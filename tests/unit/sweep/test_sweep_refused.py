"""A trial that a resumed sweep could not take up again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lora_nb.runs.events import Ended
from lora_nb.worker.sweep import _tell_of
from tests.unit.runs.kit import made, started


def test_a_trial_that_could_not_go_on_is_told_of(runs_root: Path) -> None:
    end = Ended(status="stopped", message="2 steps.", step=2, refused="Not resumed: the rows.")
    run = made(runs_root, started(), end)
    warned: list[str] = []
    session: Any = SimpleNamespace(warn=warned.append, inform=lambda _: None)
    trial: Any = SimpleNamespace(number=2, values={"rank": 4})
    _tell_of(session, trial, run)
    assert warned == ["Trial 2 (rank 4) could not go on: Not resumed: the rows."]
