"""Where runs live, and how one is found by what a person calls it."""

from __future__ import annotations

import os
from pathlib import Path

from lora_nb.errors import LoraError, did_you_mean
from lora_nb.runs.folder import RunFolder, Verb

__all__ = ["all_runs", "does", "find", "is_run", "root"]


def root() -> Path:
    """The folder of all runs: $LORA_NB_RUNS, else `runs` in the working folder."""
    return Path(os.environ.get("LORA_NB_RUNS") or "runs").expanduser()


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / "run.json").is_file()


def does(run: RunFolder, verb: Verb) -> bool:
    """Whether a run is of this verb; a damaged one is of none."""
    try:
        return run.verb == verb
    except LoraError:
        return False


def all_runs(base: Path | None = None) -> list[RunFolder]:
    """Every run below `base` (default: the root), the newest first."""
    base = base or root()
    if not base.is_dir():
        return []
    folders = sorted((p for p in base.iterdir() if is_run(p)), key=lambda p: p.name, reverse=True)
    return [RunFolder(folder) for folder in folders]


def find(name: str | Path = "latest", base: Path | None = None) -> RunFolder:
    """A run by its path, its name, any part of it that fits one run only, or `latest`.

    Raises LoraError if none or several fit.
    """
    if not str(name).strip():
        # It would be a part of every name.
        raise LoraError("The name of the run is empty. %lora_runs lists them.")
    path = Path(name).expanduser()
    if is_run(path):
        return RunFolder(path)
    runs = all_runs(base)
    wanted = str(name)
    if not runs:
        where = (base or root()).absolute()
        raise LoraError(f"No runs in {where} yet. %lora_train starts one.")
    if wanted == "latest":
        return runs[0]
    # Whole names first, and what stands behind the date before a part of it.
    ways = (
        [r for r in runs if r.name == wanted],
        [r for r in runs if _subject(r.name) == wanted],
        [r for r in runs if wanted in r.name],
    )
    fitting = next(filter(None, ways), [])
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(run.name for run in fitting[:5])
        raise LoraError(f"'{wanted}' fits {len(fitting)} runs: {several}. Give more of the name.")
    # Few know more of a name than what stands behind the date.
    known = [part for run in runs for part in (run.name, _subject(run.name))]
    hint = did_you_mean(wanted, known)
    raise LoraError(f"No run is called '{wanted}'.{hint} %lora_runs lists them.")


def _subject(name: str) -> str:
    """What stands behind the date in a run's name: what it was called, or is about."""
    return name.split("-", 2)[-1]
