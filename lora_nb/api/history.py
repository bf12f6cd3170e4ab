"""Runs that are there: listed, compared, found again, stopped and deleted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lora_nb.api.run import Run, run_of
from lora_nb.runs import store
from lora_nb.runs.sweep_state import sweep_around

if TYPE_CHECKING:
    import pandas as pd

    from lora_nb.history.deletion import Deletion
    from lora_nb.history.differences import Differences
    from lora_nb.history.overlay import Overlay

__all__ = ["attach", "delete", "diff", "list_runs", "name_of", "plot", "stop"]


def list_runs(
    *names: str,
    verb: str | None = None,
    status: str | None = None,
    tag: str | None = None,
    sort: str | None = None,
    reverse: bool = False,
    limit: int | None = None,
) -> pd.DataFrame:
    """The runs, the newest first, as a DataFrame; `names` are parts of names, any of which fits.

    `sort` is a column, whose lowest value comes first.
    """
    from lora_nb.history import listing

    return listing.list_runs(
        listing.Wanted(
            names=names,
            verb=verb,
            status=status,
            tag=tag,
            sort=sort,
            reverse=reverse,
            limit=limit,
        )
    )


def plot(*runs: str | Path | Run) -> Overlay:
    """The losses of several runs in one picture; a name may fit several, or be a sweep's."""
    from lora_nb.history.overlay import overlay

    return overlay(_names_of(runs))


def diff(*runs: str | Path | Run) -> Differences:
    """The options in which runs differ (`.frame`), and what came of them (`.results`)."""
    from lora_nb.history.differences import differences

    return differences([store.find(name) for name in _names_of(runs)])


def _names_of(runs: Iterable[str | Path | Run]) -> list[str]:
    return [name_of(run) for run in runs]


def name_of(run: str | Path | Run) -> str:
    """What a run is found by again."""
    return str(run.path if isinstance(run, Run) else run)


def delete(*runs: str | Path | Run, yes: bool = False, trials: bool = False) -> Deletion:
    """Show what deleting runs would take away, and with `yes` delete them for good.

    With `trials` the runs of a sweep's trials go, too. Raises LoraError for a run that goes on.
    """
    from lora_nb.history import deletion

    return deletion.delete(_names_of(runs), yes=yes, trials=trials)


def attach(name: str | Path | Run = "latest") -> Run:
    """A run by its name, a part of it, its path, or `latest`; `.watch()` follows it.

    While a sweep goes on it is the latest run, not the trial that it has started last.
    """
    found = store.find(name_of(name))
    return run_of((sweep_around(found) if name == "latest" else None) or found)


def stop(name: str | Path | Run = "latest") -> Run:
    """Ask a run to stop after its step and save."""
    run = attach(name)
    run.stop()
    return run
