"""What a run folder says about its run, and how runs are found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import launch, lock, store
from lora_nb.runs.adapters import ADAPTER_WEIGHTS, find_adapter
from lora_nb.runs.events import CheckpointSaved, ControlAnswered, Event, Status
from lora_nb.runs.folder import RunFolder
from tests.unit.runs.kit import ended, loss, made, started

PAUSED = ControlAnswered(request="pause", answer="paused", step=1)
RESUMED = ControlAnswered(request="resume", answer="resumed", step=1)
STOPPING = ControlAnswered(request="stop", answer="stopping", step=1)
NOT_PAUSED = ControlAnswered(request="resume", answer="not paused", step=1)


@contextmanager
def alive(run: RunFolder) -> Iterator[None]:
    held = lock.take(run.lock_path)
    assert held is not None
    try:
        yield
    finally:
        os.close(held)


@pytest.mark.parametrize(
    ("events", "while_alive", "once_dead"),
    [
        ((), "starting", "crashed"),
        ((started(),), "running", "crashed"),
        ((started(), loss(1)), "running", "crashed"),
        ((started(), PAUSED), "paused", "crashed"),
        ((started(), PAUSED, STOPPING), "paused", "crashed"),
        ((started(), PAUSED, RESUMED), "running", "crashed"),
        ((started(), PAUSED, RESUMED, PAUSED), "paused", "crashed"),
        ((started(), NOT_PAUSED), "running", "crashed"),
    ],
)
def test_status_by_events_and_lock(
    events: tuple[Event, ...], while_alive: str, once_dead: str, runs_root: Path
) -> None:
    run = made(runs_root, *events)
    with alive(run):
        assert run.status == while_alive
    assert run.status == once_dead


@pytest.mark.parametrize("status", ["completed", "stopped", "failed", "aborted"])
def test_an_end_is_an_end_whoever_holds_the_lock(status: Status, runs_root: Path) -> None:
    run = made(runs_root, started(), PAUSED, ended(status))
    assert run.status == status
    with alive(run):
        assert run.status == status


def test_a_run_taken_up_again_is_running(runs_root: Path) -> None:
    run = made(runs_root, started(), ended("stopped"), started())
    with alive(run):
        assert str(run.status) == "running"
    assert str(run.status) == "crashed"


def test_checkpoints_that_are_there(runs_root: Path) -> None:
    run = made(
        runs_root,
        started(),
        *(CheckpointSaved(step=n, path=f"checkpoints/{n}", best=n == 2) for n in (1, 2, 3)),
    )
    assert run.adapter_path is None
    for number in (1, 2):
        (run.checkpoints_path / str(number)).mkdir(parents=True)
    assert [(c.step, c.best) for c in run.checkpoints] == [(1, False), (2, True)]
    assert run.adapter_path == run.checkpoints_path / "2"


def test_a_new_folder_holds_config_and_verb(runs_root: Path) -> None:
    first = launch.create(TrainConfig(model="a/B c", data="x/demo rows"), runs_root)
    config = OptionsOfTest(model="a/B c", data="x/demo rows", seed=3)
    second = launch.create(config, runs_root)
    named = launch.create(TrainConfig(name="mine"), runs_root)
    again = launch.create(TrainConfig(name="mine"), runs_root)

    assert first.name.endswith("-B-c-demo-rows")
    assert (first.verb, second.verb) == ("train", "test")
    assert second.name.endswith("-B-c-demo-rows-test")
    assert second.config == config
    assert named.name.endswith("-mine")
    assert again.name != named.name


def test_a_place_that_takes_no_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LoraError, match=r"Can't make a run folder in .*LORA_NB_RUNS"):
        launch.create(TrainConfig(), tmp_path / "file")


def test_a_damaged_run_says_so(runs_root: Path) -> None:
    run = made(runs_root)
    (run.path / "run.json").write_text("{}")
    with pytest.raises(LoraError, match=r"no run of lora_nb \(run.json is missing or damaged\)"):
        _ = RunFolder(run.path).verb


def test_events_that_can_not_be_read_are_named(runs_root: Path) -> None:
    run = made(runs_root)
    run.events_path.mkdir()
    with pytest.raises(LoraError) as caught:
        run.records()
    assert str(caught.value) == f"{run.events_path} can't be read: Is a directory."


def test_finding_runs(runs_root: Path) -> None:
    with pytest.raises(LoraError, match=r"No runs in .* yet\. %lora_train starts one\."):
        store.find()
    singers = made(runs_root, name="singers")
    songs = made(runs_root, name="songs")
    order = sorted([singers, songs], key=lambda run: run.name, reverse=True)

    assert store.all_runs() == order
    assert store.find("latest") == order[0]
    assert store.find(songs.name) == songs
    assert store.find("song") == songs
    assert store.find(singers.path) == singers
    with pytest.raises(LoraError, match=r"^'ng' fits 2 runs: .*\. Give more of the name\.$"):
        store.find("ng")
    with pytest.raises(LoraError, match=r"^No run is called .* Did you mean '.*-songs'\?"):
        store.find(songs.name.replace("songs", "sonsg"))
    with pytest.raises(LoraError, match=r"No run is called 'x'\. %lora_runs lists them\."):
        store.find("x")


def test_a_full_name_wins_over_names_that_hold_it(runs_root: Path) -> None:
    short = made(runs_root, name="a")
    (runs_root / f"{short.name}-2").mkdir()
    (runs_root / f"{short.name}-2" / "run.json").write_text('{"verb": "train"}')
    assert store.find(short.name) == short


def test_what_a_run_is_called_wins_over_a_part_of_another(runs_root: Path) -> None:
    short = made(runs_root, name="art")
    made(runs_root, name="art-fuse")
    assert store.find("art") == short


def test_finding_adapters(runs_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(LoraError, match=rf"^adapter_path: {folder} holds no {ADAPTER_WEIGHTS}\.$"):
        find_adapter(str(folder))
    with pytest.raises(LoraError, match=r"^adapter_path: no run has saved an adapter yet\.$"):
        find_adapter("latest")
    (folder / ADAPTER_WEIGHTS).touch()
    assert find_adapter(str(folder)) == folder

    with_one = made(runs_root, started(), CheckpointSaved(step=1, path="checkpoints/1", best=False))
    (with_one.checkpoints_path / "1").mkdir(parents=True)
    without = made(runs_root, started(), ended("failed"), name="zzz")
    assert find_adapter("latest") == with_one.checkpoints_path / "1"
    assert find_adapter(with_one.name) == with_one.checkpoints_path / "1"
    with pytest.raises(LoraError, match=r"has saved no adapter \(status: failed\)\.$"):
        find_adapter(without.name)
    with pytest.raises(LoraError, match=r"^resume_adapter_file: gone does not exist\. No run"):
        find_adapter("gone", "resume_adapter_file")
