"""What the options of a run name, as seen from the folder that it was started in."""

from __future__ import annotations

import filecmp
from pathlib import Path

from lora_nb.runs.adapters import ADAPTER_WEIGHTS, base_of
from lora_nb.runs.folder import RunFolder

__all__ = ["base_for", "seen_from", "step_of"]


def seen_from(run: RunFolder | None, name: str) -> str:
    """A path that a run was given, to be used in any folder; the name itself if it is none.

    The name of a model or data set on the Hub may look like a path: where there is something of
    that name, it is one.
    """
    if run is None or name == "demo":
        return name
    there = Path(str(run.about.get("folder") or ".")) / Path(name).expanduser()
    here = Path(name).expanduser()
    if not there.exists() or (here.exists() and here.samefile(there)):
        return name
    return str(there)


def base_for(adapter: Path, run: RunFolder | None) -> str | None:
    """The model that an adapter of a run was made for, if it says so, to be used in any folder."""
    named = base_of(adapter)
    return named and seen_from(run, named)


def step_of(adapter: Path, run: RunFolder | None) -> int | None:
    """The step of the checkpoint of a run that an adapter is, or None if it is none of them."""
    weights = adapter.resolve() / ADAPTER_WEIGHTS
    for checkpoint in reversed(run.checkpoints) if run is not None else ():
        own = checkpoint.path.resolve() / ADAPTER_WEIGHTS
        if own.is_file() and weights.is_file() and filecmp.cmp(own, weights, shallow=False):
            return checkpoint.step
    return None
