"""One look at everything that fine-tuning needs here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from lora_nb.environment_report.backend import backend
from lora_nb.environment_report.machine import disk, machine
from lora_nb.environment_report.packages import hub, packages
from lora_nb.environment_report.report import Check, Report

__all__ = ["environment"]


def environment(runs: Path | None = None) -> Report:
    """Look at Python, the machine, the backend, the packages and the Hub's settings.

    `runs` is the folder of the runs whose disk is looked at. MLX is only imported in a process of
    its own. A check that goes wrong is a line of the report, never an exception.
    """
    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        machine,
        functools.partial(disk, runs),
        backend,
        packages,
        hub,
    )
    return Report(tuple(check for part in parts for check in _guarded(part)))


def _guarded(part: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from part()
    except Exception as problem:  # noqa: BLE001 - a report on a broken machine must still come
        name = getattr(part, "__name__", "disk").strip("_")
        yield Check(name, f"could not be found out: {problem}", ok=False)
