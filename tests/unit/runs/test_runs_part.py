"""What is written beside its place: complete or not there, and nothing is left of killed ones."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lora_nb.runs.part import clear, part_file, part_folder, real_place, set_aside

Make = Callable[[Path], AbstractContextManager[Path]]


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make", [part_folder, part_file])
def test_what_was_not_put_in_place_is_gone(make: Make, tmp_path: Path) -> None:
    with make(tmp_path / "new" / "model") as part:
        assert beside(tmp_path / "new") == [part.name]
    assert beside(tmp_path / "new") == []


@pytest.mark.parametrize("make", [part_folder, part_file])
def test_what_was_put_in_place_stays(make: Make, tmp_path: Path) -> None:
    with make(tmp_path / "model") as part:
        part.rename(tmp_path / "model")
    assert beside(tmp_path) == ["model"]


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".model.part-17").mkdir()
    (tmp_path / ".model.part-17" / "weights").write_text("x")
    (tmp_path / ".model.part-18").write_text("x")
    kept = [".model.part-x", ".model.old-17", ".model2.part-17", "model.part-17"]
    for name in kept:
        (tmp_path / name).mkdir()
    with part_folder(tmp_path / "model") as part:
        assert beside(tmp_path) == sorted([*kept, part.name])


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_another_process_is_writing_stays(kind: str, tmp_path: Path) -> None:
    other = tmp_path / ".model.part-17"
    if kind == "folder":
        other.mkdir()
    else:
        other.touch()
    held = os.open(other, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with part_file(tmp_path / "model"):
        assert other.exists()
    os.close(held)
    with part_file(tmp_path / "model"):
        assert not other.exists()


def test_a_part_is_held_while_it_is_written(tmp_path: Path) -> None:
    with part_folder(tmp_path / "model") as part:
        clear(tmp_path / "model", "part")
        assert part.is_dir()


def test_an_old_one_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    set_aside(tmp_path / "model").symlink_to("elsewhere")
    clear(tmp_path / "model", "old")
    assert beside(tmp_path) == ["elsewhere"]


def test_a_link_is_followed_to_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "loop").symlink_to("loop")
    assert real_place("link") == Path(os.path.realpath(tmp_path)) / "far"
    assert real_place("plain") == tmp_path / "plain"
    assert real_place("loop").name == "loop"
