"""The table of runs: which ones, in which order, how wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lora_nb
from lora_nb.config import SweepConfig
from lora_nb.errors import LoraError
from lora_nb.history.listing import STATUSES, VERBS
from lora_nb.runs import launch
from lora_nb.runs.folder import KINDS
from tests.unit.commands.conftest import Shell
from tests.unit.display.made import valid
from tests.unit.runs.kit import ended, loss, made, started


@pytest.fixture
def runs(runs_root: Path) -> None:
    made(runs_root, started(), loss(1, 2.0), valid(1, 1.5), ended("completed"), name="a-singers")
    made(runs_root, started(), loss(4, 1.0), valid(4, 0.5), ended("failed"), name="b-singers",
         model="/somewhere/far/away/a-model-with-a-rather-long-name")  # fmt: skip
    made(runs_root, started(), loss(2, 3.0), ended("completed"), name="c-songs")
    lora_nb.attach("b-singers").note("nice\nand long " + 60 * "x", tag=["good"])


def names(frame: pd.DataFrame) -> list[str]:
    return [str(name).split("-")[2] for name in frame["run"]]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", "c b a"),
        ("singers", "b a"),
        ("songs a-sing", "c a"),
        ("latest", "c"),
        ("--sort best_valid", "b a c"),
        ("--sort best_valid --reverse", "a b c"),
        ("--sort steps --limit 2", "a c"),
        ("--reverse", "a b c"),
        ("--status failed", "b"),
        ("--tag good", "b"),
        ("--tag goo", ""),
        ("--verb test", ""),
        ("--verb train --limit 1", "c"),
    ],
)
def test_filters_and_order(line: str, wanted: str, runs: None, shell: Shell) -> None:
    # Made within one second, they are in the order of their names only if that is asked for.
    frame = shell.value(f"%lora_runs --wide {line}")
    assert names(frame) == wanted.split()
    assert frame.index.tolist() == list(range(len(frame)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--sort valid_los", "--sort: 'valid_los' is not one of run, verb, status, model, "),
        ("--verb trian", "--verb: 'trian' is not one of fit, "),
        ("--status dead", "--status: 'dead' is not one of starting, running, paused, "),
        ("--limit 0", "--limit: 0 is out of range; give at least 1."),
        ("--limit many", "--limit: 'many' is not a whole number."),
        ("--sort", "--sort needs a value: --sort {run,verb,"),
    ],
)
def test_wrong_filters(line: str, words: str, shell: Shell) -> None:
    problem = shell.error(f"%lora_runs {line}")
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(words), str(problem)


def test_a_near_column_is_proposed(shell: Shell) -> None:
    problem = shell.error("%lora_runs --sort valid_los")
    assert str(problem).endswith("tags, note, duration. Did you mean 'valid_loss'?")


def test_the_narrow_table_has_what_a_page_has_room_for(runs: None, shell: Shell) -> None:
    frame = shell.value("%lora_runs --sort best_valid")
    assert list(frame.columns) == [
        "run", "verb", "status", "model", "data", "steps", "train_loss", "best_valid",
        "duration", "tags", "note",
    ]  # fmt: skip
    first = frame.iloc[0]
    assert first["model"] == "a-model-with-a-rather-l…"
    assert first["note"] == "nice and long " + 25 * "x" + "…"
    assert first["tags"] == "good"
    wide = shell.value("%lora_runs --wide")
    assert {"started", "seconds", "adapter_path", "valid_loss", "test_perplexity"} <= set(wide)
    assert wide["note"].str.len().max() == 74


def test_durations_are_told_in_minutes(runs_root: Path, shell: Shell) -> None:
    from lora_nb.runs.events import Ended

    made(runs_root, started(), Ended(status="completed", message="", seconds=65.2))
    assert shell.value("%lora_runs")["duration"].tolist() == ["1:05"]


def test_no_runs_are_an_empty_table(shell: Shell, runs_root: Path) -> None:
    frame = shell.value("%lora_runs")
    assert frame.empty
    assert list(frame.columns) == ["run", "verb", "status"]
    assert lora_nb.list_runs(sort="best_valid").empty


def test_a_sweep_whose_trials_are_not_yet_there_is_listed(runs_root: Path) -> None:
    config = SweepConfig(model="m", data="d", sweep={"seed": [1, 2]})
    launch.create(config, runs_root)
    (row,) = lora_nb.list_runs().to_dict("records")
    assert (row["verb"], row["status"]) == ("sweep", "crashed")
    assert pd.isna(row["best_valid"])


def test_the_choices_are_those_that_there_are(shell: Shell) -> None:
    assert set(VERBS) == set(KINDS)
    assert "damaged" in STATUSES
    assert shell.completions("%lora_runs --status cra") == ["crashed"]
    assert shell.completions("%lora_runs --sort best") == ["best_valid"]


def test_what_has_no_value_comes_last_texts_too(runs: None, shell: Shell) -> None:
    assert names(shell.value("%lora_runs --sort note")) == ["b", "c", "a"]
    lora_nb.attach("a-singers").note(tag="first")
    assert names(shell.value("%lora_runs --sort tags")) == ["a", "b", "c"]
    assert names(shell.value("%lora_runs --sort tags --reverse")) == ["b", "a", "c"]


def test_the_columns_of_the_narrow_table_can_be_sorted_by(runs_root: Path, shell: Shell) -> None:
    from lora_nb.runs.events import Ended

    for name, seconds in (("a-x", 9.0), ("b-x", 80.0), ("c-x", 700.0)):
        made(runs_root, started(), Ended(status="completed", message="", seconds=seconds),
             name=name)  # fmt: skip
    frame = shell.value("%lora_runs --sort duration")
    assert names(frame) == ["a", "b", "c"]
    assert frame["duration"].tolist() == ["0:09", "1:20", "11:40"]
    for column in frame.columns:
        assert len(shell.value(f"%lora_runs --sort {column}")) == 3


@pytest.mark.parametrize("limit", ["3", 2.5])
def test_wrong_limits_from_python(limit: Any, runs_root: Path) -> None:
    with pytest.raises(LoraError, match=rf"^--limit: {limit!r} is not a whole number\.$"):
        lora_nb.list_runs(limit=limit)


def test_a_near_name_is_proposed_without_its_date(runs: None) -> None:
    with pytest.raises(LoraError) as problem:
        lora_nb.attach("a-singer5")
    assert str(problem.value) == (
        "No run is called 'a-singer5'. Did you mean 'a-singers'? %lora_runs lists them."
    )
