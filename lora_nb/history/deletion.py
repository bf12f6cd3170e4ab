"""Delete runs: first shown, then done, never one that lives, and nothing outside their folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.display.tables import escape, html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.display.words import plain, size
from lora_nb.errors import LoraError
from lora_nb.history.dependents import used_now, wanted_later
from lora_nb.runs import attach, lock, store
from lora_nb.runs.adapters import ADAPTER_WEIGHTS, run_of
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import ADAPTERS, sweep_state

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Deletion", "delete"]

_HEAD = ("run", "status", "size", "checkpoints", "adapter elsewhere")


@dataclass(frozen=True)
class _Doomed:
    """A run that goes: how many bytes and checkpoints, and where its adapter stays.

    With a sweep the adapters go that its trials have published in its folder.
    """

    run: RunFolder
    status: str
    bytes: int
    checkpoints: int
    published: str
    adapters_inside: bool


@dataclass(frozen=True, eq=False)
class Deletion:
    """What would be deleted, or has been (`done`)."""

    doomed: Sequence[_Doomed]
    done: bool
    warnings: Sequence[str] = ()

    @property
    def frame(self) -> DataFrame:
        """A row for each run: run, status, bytes, checkpoints, published."""
        from pandas import DataFrame

        columns = ["run", "status", "bytes", "checkpoints", "published"]
        rows = [
            (each.run.name, each.status, each.bytes, each.checkpoints, each.published)
            for each in self.doomed
        ]
        return DataFrame(rows, columns=columns)

    def _verdict(self) -> str:
        many = f"{len(self.doomed)} run{'' if len(self.doomed) == 1 else 's'}"
        total = size(sum(each.bytes for each in self.doomed))
        inside = [each.run.name for each in self.doomed if each.adapters_inside]
        if self.done:
            return f"Deleted {many}, {total}."
        also = f"With {', '.join(inside)} go the adapters its trials have published there."
        told = [f"Nothing is deleted yet: {many}, {total}.", *([also] if inside else [])]
        return plain(" ".join([*told, *self.warnings, "Add --yes (yes=True) to delete for good."]))

    def _rows(self) -> list[list[str]]:
        return [
            [
                plain(each.run.name),
                each.status,
                size(each.bytes),
                f"{each.checkpoints}",
                plain(each.published) or "no",
            ]
            for each in self.doomed
        ]

    def __repr__(self) -> str:
        return f"{text_table(_HEAD, self._rows())}\n\n{self._verdict()}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        told = f'<div style="color:inherit;">{escape(self._verdict())}</div>'
        return {
            "text/plain": repr(self),
            "text/html": wrapper(html_table(self._rows(), _HEAD), told),
        }


def delete(names: Sequence[str], *, yes: bool = False, trials: bool = False) -> Deletion:
    """Show what would go, and with `yes` delete it; with `trials` those of a sweep go, too.

    Raises LoraError, before anything is deleted, for a run that lives or that one which lives
    uses, and for what is not a folder of its own right below the folder of all runs.
    """
    if not names:
        raise LoraError("Name the runs to delete: %lora_delete RUN ...")
    named = [_checked(store.find(name)) for name in names]
    if trials and not any(store.does(run, "sweep") for run in named):
        raise LoraError(f"--trials is about sweeps, and {_listed(named)} none. Leave it out.")
    found = {run.path: run for each in named for run in _meant(each, trials=trials)}
    for run in found.values():
        if used := used_now(run):
            raise LoraError(f"{used}. Stop that first; nothing is deleted.")
    doomed = [_doomed(run) for run in found.values()]
    if yes:
        for each in doomed:
            _remove(each.run)
        return Deletion(doomed, done=True)
    warnings = [told for run in found.values() for told in wanted_later(run, found)]
    return Deletion(doomed, done=False, warnings=warnings)


def _listed(runs: Sequence[RunFolder]) -> str:
    return f"{', '.join(run.name for run in runs)} {'is' if len(runs) == 1 else 'are'}"


def _meant(run: RunFolder, *, trials: bool) -> Iterator[RunFolder]:
    yield run
    if trials and store.does(run, "sweep"):
        yield from (_checked(each.run) for each in sweep_state(run).trials if each.run)


def _checked(run: RunFolder) -> RunFolder:
    root = store.root().resolve()
    path = Path(os.path.normpath(run.path.absolute()))
    if path.is_symlink():
        raise LoraError(f"{run.name} is a link to another place, so it is left alone.")
    if path.parent.resolve() != root or path.name != run.name:
        raise LoraError(f"{path} is not in {root}, where runs are. Only those are deleted.")
    if not attach.is_over(run):
        raise LoraError(
            f"{run.name} is {run.status}. Stop it first, with %lora_stop {run.name}; nothing is "
            "deleted."
        )
    return RunFolder(path)


def _doomed(run: RunFolder) -> _Doomed:
    try:
        status, checkpoints, published = run.status, len(run.checkpoints), _published(run)
    except (LoraError, OSError, ValueError):
        status, checkpoints, published = "damaged", 0, ""  # type: ignore[assignment]
    inside = (run.path / ADAPTERS).is_dir()
    return _Doomed(run, status, _bytes_in(run.path), checkpoints, published, inside)


def _published(run: RunFolder) -> str:
    """Where the run's adapter lies outside of its folder, and so stays."""
    if run.verb == "sweep":
        return ""
    named = getattr(run.config, "adapter_path", None)
    if run.verb != "train" or not named:
        return ""
    folder = Path(str(run.about.get("folder") or ".")) / Path(named).expanduser()
    if not (folder / ADAPTER_WEIGHTS).is_file():
        return ""
    maker = run_of(folder)
    return str(folder) if maker and maker.path.resolve() == run.path.resolve() else ""


def _bytes_in(folder: Path) -> int:
    """What the files take, those behind links not counted."""
    total = 0
    for base, _, files in os.walk(folder, followlinks=False):
        for name in files:
            try:
                total += Path(base, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _remove(run: RunFolder) -> None:
    """Remove the folder; `run.json` goes last, so that what is left of it can be deleted again.

    So does the lock, which a new file of its name would not hold.
    """
    try:
        with _kept_from_starting(run):
            for entry in run.path.iterdir():
                if entry.name not in ("run.json", run.lock_path.name):
                    _remove_entry(entry)
            (run.path / "run.json").unlink(missing_ok=True)
            run.lock_path.unlink(missing_ok=True)
            run.path.rmdir()
    except OSError as problem:
        raise LoraError(
            f"{run.path} can't be removed: {problem.strerror} ({problem.filename}). What is "
            "left of it is still there."
        ) from None


def _remove_entry(entry: Path) -> None:
    # A link goes itself; what it names stays.
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


@contextmanager
def _kept_from_starting(run: RunFolder) -> Iterator[None]:
    """Hold the run's lock, so that nobody resumes it meanwhile."""
    held = None if run.lock_path.is_symlink() else lock.take(run.lock_path)
    if held is None and run.is_alive:
        raise LoraError(f"{run.name} has been started meanwhile, so it is not deleted.")
    try:
        yield
    finally:
        if held is not None:
            os.close(held)
