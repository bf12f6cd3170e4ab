"""The counts of the kills in a line each, and as the table of docs/reliability.md."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from lora_nb.runs import blas
from tests.faults.kills_runs import RunCounts
from tests.faults.kills_saves import SaveCounts
from tests.tiny import ROOT

__all__ = ["lines_of", "write_table"]

_PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- counts: written by `make faults` -->", "<!-- end of counts -->"


def lines_of(runs: RunCounts, saves: SaveCounts) -> list[str]:
    """What was done and found, in three lines."""
    read = runs.read
    hits = ", ".join(f"{count} {place}" for place, count in sorted(saves.hits.items()))
    resumed = (
        f"resume: kills {runs.kills}, in a save {runs.in_a_save}, runs {runs.runs}, "
        f"resumes {runs.resumes}, steps done again {runs.steps_again}, "
        f"differing {len(runs.differing)}, torn {len(runs.torn)}; "
        f"weights alone: {runs.controls} runs, equal {len(runs.controls_equal)}"
    )
    saved = (
        f"checkpoints: kills {saves.kills} ({hits}), torn {len(saves.torn)}, "
        f"lost {len(saves.lost)}; published adapters {saves.adapters}, "
        f"not loadable {len(saves.unloadable)}"
    )
    told = (
        f"events: kills {runs.kills}, readers {read.readers}, lines {read.lines}, "
        f"tails held back {read.held_back}, parse errors or gaps {len(read.misread)}, "
        f"crashes seen {read.crashes_seen}, ends seen {read.ends_seen}"
    )
    return [resumed, saved, told]


def write_table(runs: RunCounts, saves: SaveCounts, seconds: float) -> Path:
    """Put the counts into the page of the documentation; returns its path."""
    read = runs.read
    rows = [
        ("Trainings killed, resumed until complete", str(runs.runs)),
        ("SIGKILLs of their workers", f"{runs.kills}, {runs.in_a_save} of them inside a save"),
        ("Steps that were void and came again", str(runs.steps_again)),
        ("Results or curves that differ from the uninterrupted run", str(len(runs.differing))),
        (
            "The same from the weights alone (the control, which must differ)",
            f"{runs.controls - len(runs.controls_equal)} of {runs.controls} differ",
        ),
        ("SIGKILLs aimed at the writing of a checkpoint", str(saves.kills)),
        ("Checkpoints torn, or lost after their save", f"{len(saves.torn) + len(saves.lost)}"),
        (
            "Published adapters that can't be loaded",
            f"{len(saves.unloadable)} of {saves.adapters}",
        ),
        ("Processes that read the events meanwhile", f"{read.readers} (3 a training)"),
        ("Lines they read, and parse errors or gaps", f"{read.lines}, {len(read.misread)}"),
        ("Crashes and ends seen by those that follow", f"{read.crashes_seen + read.ends_seen}"),
    ]
    about = (
        f"{datetime.now():%d %B %Y}, {_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, MLX {version('mlx')}, mlx-lm {version('mlx-lm')}, "
        f"BLAS {blas.describe()}; "
        f"{seconds:.0f} seconds with a load of {os.getloadavg()[0]:.0f}."
    )
    table = "\n".join(
        ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    )
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    assert after, f"{_PAGE} has no place for the counts"
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{about}\n\n{table}\n\n{_END}{after}", encoding="utf-8")
    return _PAGE


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
