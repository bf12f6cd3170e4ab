"""Which runs need another one: those that use its files now, and those that would, going on."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from lora_nb.config.fields import flat_options
from lora_nb.errors import LoraError
from lora_nb.runs import attach, store
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import sweep_around, sweeps_of

__all__ = ["used_now", "wanted_later"]


def used_now(run: RunFolder) -> str:
    """Who needs a run at this moment, in words; empty if nobody does."""
    sweep = sweep_around(run)
    if sweep is not None and not attach.is_over(sweep):
        return f"{run.name} is a trial of the sweep {sweep.name}, which is {sweep.status}"
    for other in store.all_runs():
        if other.path == run.path or not other.is_alive:
            continue
        # One that has told its end needs a moment to go.
        if _inside(run, other) and not attach.is_over(other):
            return f"{run.name} is used by {other.name}, which is {other.status}"
    return ""


def wanted_later(run: RunFolder, apart_from: Container[Path]) -> Iterator[str]:
    """A sentence for each run that could not go on as before; not for those `apart_from`."""
    for sweep in sweeps_of(run):
        if sweep.path not in apart_from:
            yield (
                f"{run.name} is a trial of {sweep.name}, which loses it and would train it again."
            )
    for other in store.all_runs():
        if other.path == run.path or other.path in apart_from:
            continue
        if "resume_adapter_file" in _inside(run, other):
            yield f"{other.name} began with weights of {run.name}, which its --resume reads."


def _inside(run: RunFolder, other: RunFolder) -> list[str]:
    """The options of another run that name something in the folder of a run."""
    try:
        options = flat_options(other.config)
        home = str(other.about.get("folder") or ".")
    except LoraError:
        return []
    inside = run.path.resolve()
    found: list[str] = []
    for key, value in options.items():
        texts = value if isinstance(value, list) else [value]
        paths = (_place(home, text) for text in texts if isinstance(text, str) and text)
        if any(path.is_relative_to(inside) for path in paths):
            found.append(key)
    return found


def _place(home: str, text: str) -> Path:
    # A name of the Hub is no path, but then there is nothing of its name either.
    return (Path(home) / Path(text.partition("\0")[0]).expanduser()).resolve()
