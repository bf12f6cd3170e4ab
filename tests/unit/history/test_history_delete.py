"""Deleting runs: shown first, and never too much."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import lora_nb
from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from lora_nb.runs.events import CheckpointSaved, Event
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import ADAPTERS
from tests.unit.commands.conftest import Shell
from tests.unit.display.made import ended as over
from tests.unit.display.made import started as began
from tests.unit.runs.kit import ended, made, started
from tests.unit.sweep.kit import made_sweep


def saved(root: Path, adapter: Path, **options: str) -> RunFolder:
    """A run with a checkpoint whose adapter is published."""
    checkpoint = CheckpointSaved(step=3, path="checkpoints/0000003", best=True)
    run = made(
        root, started(), checkpoint, ended("completed"), adapter_path=str(adapter), **options
    )
    folder = run.path / checkpoint.path
    folder.mkdir(parents=True)
    (folder / ADAPTER_WEIGHTS).write_bytes(bytes(2_000_000))
    adapter.mkdir(exist_ok=True)
    shutil.copy(folder / ADAPTER_WEIGHTS, adapter)
    return run


def test_it_is_shown_before_it_is_done(shell: Shell, runs_root: Path, tmp_path: Path) -> None:
    run = saved(runs_root, tmp_path / "adapters", name="old")
    other = made(runs_root, started(), ended("stopped"), name="kept")
    shown = shell.value("%lora_delete old")
    assert not shown.done
    assert repr(shown).splitlines()[1].split() == [
        run.name, "completed", "2.0", "MB", "1", str(tmp_path / "adapters"),
    ]  # fmt: skip
    assert repr(shown).endswith(
        "Nothing is deleted yet: 1 run, 2.0 MB. Add --yes (yes=True) to delete for good."
    )
    assert run.path.is_dir()
    done = shell.value("%lora_delete old --yes")
    assert repr(done).endswith("Deleted 1 run, 2.0 MB.")
    assert done.frame["checkpoints"].tolist() == [1]
    assert not run.path.exists()
    assert other.path.is_dir()
    # What was published stays.
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).stat().st_size == 2_000_000
    assert lora_nb.list_runs()["run"].tolist() == [other.name]


def test_an_adapter_of_another_run_is_not_called_its_own(runs_root: Path, tmp_path: Path) -> None:
    first = saved(runs_root, tmp_path / "adapters")
    (first.path / "checkpoints" / "0000003" / ADAPTER_WEIGHTS).write_bytes(b"older")
    assert lora_nb.delete(first.name).frame["published"].tolist() == [""]


@pytest.mark.parametrize("yes", [False, True])
def test_a_run_that_lives_is_refused_and_nothing_goes(yes: bool, runs_root: Path) -> None:
    over_run = made(runs_root, started(), ended("completed"), name="over")
    living = made(runs_root, started(), name="living")
    held = lock.take(living.lock_path)
    assert held is not None
    with pytest.raises(LoraError) as problem:
        lora_nb.delete("over", "living", yes=yes)
    assert str(problem.value) == (
        f"{living.name} is running. Stop it first, with %lora_stop {living.name}; nothing is "
        "deleted."
    )
    assert over_run.path.is_dir()
    assert living.path.is_dir()
    os.close(held)


def test_nothing_outside_of_the_root_is_deleted(
    runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(runs_root, started(), ended("completed"))
    outside = made(tmp_path / "elsewhere", started(), ended("completed"))
    monkeypatch.chdir(runs_root)
    for name in (str(outside.path), f"../elsewhere/{outside.name}"):
        with pytest.raises(LoraError, match=r"is not in .*, where runs are\. Only those are del"):
            lora_nb.delete(name, yes=True)
    assert outside.path.is_dir()
    with pytest.raises(LoraError, match="No run is called '\\.\\./elsewhere'"):
        lora_nb.delete("../elsewhere", yes=True)


def test_links_are_not_followed(runs_root: Path, tmp_path: Path) -> None:
    outside = made(tmp_path / "elsewhere", started(), ended("completed"), name="target")
    run = made(runs_root, started(), ended("completed"), name="own")
    link = runs_root / "20200101-000000-link"
    link.symlink_to(outside.path)
    with pytest.raises(LoraError, match="is a link to another place, so it is left alone"):
        lora_nb.delete("link", yes=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(bytes(5_000_000))
    (run.path / "folder-link").symlink_to(precious)
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "inner-link").symlink_to(precious)
    (run.path / "lock").symlink_to(tmp_path / "lock")
    shown = lora_nb.delete("own", yes=True)
    assert shown.frame["bytes"].tolist()[0] < 100_000
    assert not run.path.exists()
    assert (precious / "file").stat().st_size == 5_000_000
    assert outside.path.is_dir()
    assert not (tmp_path / "lock").exists()


def test_a_damaged_run_can_be_deleted(runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"), name="bad")
    (run.path / "config.yaml").write_text("{")
    assert lora_nb.delete("bad").frame["status"].tolist() == ["damaged"]
    (run.path / "run.json").write_text("{")
    lora_nb.delete("bad", yes=True)
    assert not run.path.exists()


def test_a_sweep_goes_with_its_trials_only_if_asked(runs_root: Path) -> None:
    told: list[Event] = [began(), over()]
    sweep = made_sweep(runs_root, told, told, events=[began("sweep"), over()])
    (sweep.path / ADAPTERS).mkdir()
    told_of = repr(lora_nb.delete(sweep.name))
    assert f"With {sweep.name} go the adapters its trials have published there." in told_of
    lora_nb.delete(sweep.name, yes=True, trials=True)
    assert list(runs_root.iterdir()) == []


def test_nothing_named_is_said(shell: Shell) -> None:
    problem = shell.error("%lora_delete --yes")
    assert str(problem) == "Name the runs to delete: %lora_delete RUN ..."


def test_what_can_not_be_removed_is_said_and_may_be_tried_again(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs_root, started(), ended("completed"), name="stuck")
    (run.path / "checkpoints").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(LoraError, match=r"can't be removed: Permission denied .* still there\."):
        lora_nb.delete("stuck", yes=True)
    monkeypatch.undo()
    assert (run.path / "run.json").is_file()
