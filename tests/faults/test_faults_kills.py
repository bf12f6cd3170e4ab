"""Workers are killed at any moment: nothing that was saved is lost, and resuming changes nothing.

`make faults` kills more than 350 times and writes the counts into docs/reliability.md; `make test`
does a slice of the same.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.faults.kills_cases import CASES, WHOLE, Case, saves_to_kill
from tests.faults.kills_report import lines_of, write_table
from tests.faults.kills_runs import (
    RunCounts,
    differences,
    killed,
    uninterrupted,
    weights_alone,
)
from tests.faults.kills_saves import SaveCounts, Saver
from tests.tiny import ROOT

RUNS = RunCounts()
SAVES = SaveCounts()
STARTED = time.monotonic()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_training_that_is_killed_and_resumed_equals_one_that_is_not(
    case: Case, home: Path, tmp_path: Path, runs_root: Path
) -> None:
    whole = uninterrupted(case, home, tmp_path)
    run = killed(case, whole, home, tmp_path, RUNS)
    found = differences(whole, run)
    RUNS.differing += [f"{case.name}: {each}" for each in found]
    assert found == []
    assert RUNS.torn == []
    assert RUNS.read.misread == []

    # Otherwise the comparison would prove nothing.
    if case.has_control:
        RUNS.controls += 1
        other = differences(whole, weights_alone(case, whole, home, tmp_path))
        if "adapters.safetensors" not in other:
            RUNS.controls_equal.append(case.name)
        assert "adapters.safetensors" in other


def test_a_kill_within_a_save_loses_no_checkpoint_and_breaks_no_adapter(tmp_path: Path) -> None:
    with Saver(tmp_path, 1, SAVES) as saver:
        for _ in range(saves_to_kill()):
            saver.kill_once()
    assert (SAVES.torn, SAVES.lost, SAVES.unloadable) == ([], [], [])
    assert SAVES.hits["writing"] > SAVES.kills / 4
    assert SAVES.adapters > SAVES.kills / 2


def test_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Last of all, so that it has them: as many kills as are wanted, each one seen by a reader."""
    with capsys.disabled():
        print("", *lines_of(RUNS, SAVES), sep="\n")
    assert RUNS.runs == len(CASES)
    assert RUNS.read.crashes_seen == RUNS.kills == RUNS.resumes
    assert RUNS.read.ends_seen == RUNS.runs
    assert RUNS.read.readers == 3 * RUNS.runs
    assert RUNS.kills >= (100 if WHOLE else 3)
    assert RUNS.in_a_save >= (30 if WHOLE else 1)
    if WHOLE:
        assert SAVES.kills >= 200
        with capsys.disabled():
            print(f"written to {write_table(RUNS, SAVES, time.monotonic() - STARTED)}")


def test_every_test_that_the_documentation_names_is_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", text))
    assert len(named) > 15
    for module, name in named:
        (path,) = (ROOT / "tests").rglob(module)
        assert f"\ndef {name}(" in path.read_text(encoding="utf-8"), f"{module}::{name}"
