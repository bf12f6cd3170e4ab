"""The machine: Python, system, cores, memory, open files, and room for runs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from lora_nb.environment_report.report import Check
from lora_nb.runs import cpus, store

__all__ = ["disk", "machine"]

_GB = 1e9
_LEAST_DISK = 5 * _GB
_LEAST_MEMORY = 1 * _GB
_OPEN_FILES = 4096  # what mlx-lm sets for its process when it is imported


def machine() -> Iterator[Check]:
    """What the machine has."""
    import psutil

    yield Check("Python", f"{platform.python_version()} ({sys.executable})", ok=True)
    yield _system()
    logical = os.cpu_count() or 1
    yield Check("cores", f"{cpus.physical_cores()} usable, {logical} logical", ok=True)
    memory = psutil.virtual_memory()
    enough = memory.available >= _LEAST_MEMORY
    yield Check(
        "memory",
        f"{memory.available / _GB:.1f} GB available of {memory.total / _GB:.1f} GB",
        ok=enough,
        remedy="" if enough else "Close other programs, or release a loaded model.",
    )
    yield _open_files()


def _system() -> Check:
    if platform.system() != "Darwin":
        return Check("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    version, machine = platform.mac_ver()[0], platform.machine()
    remedy = ""
    if machine != "arm64":
        remedy = "MLX needs Apple silicon and a Python for arm64 (not one under Rosetta)."
    elif int(version.partition(".")[0] or 0) < 14:
        remedy = "MLX needs macOS 14 or later."
    return Check("system", f"macOS {version} {machine}", ok=not remedy, remedy=remedy)


def _open_files() -> Check:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    unlimited = hard == resource.RLIM_INFINITY
    enough = unlimited or hard >= _OPEN_FILES or os.geteuid() == 0
    return Check(
        "open files",
        "no limit" if unlimited else f"at most {hard}",
        ok=enough,
        remedy="" if enough else f"mlx-lm needs a hard limit of {_OPEN_FILES} (ulimit -Hn).",
    )


def disk(runs: Path | None) -> Iterator[Check]:
    """Whether there is room for runs in their folder."""
    folder = (runs or store.root()).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    writable = os.access(existing, os.W_OK)
    remedy = ""
    if not writable:
        remedy = "Choose a folder you can write with the environment variable LORA_NB_RUNS."
    elif free < _LEAST_DISK:
        remedy = "Little room for checkpoints: free some, or set LORA_NB_RUNS to another disk."
    yield Check("runs", f"{folder}, {free / _GB:.1f} GB free", ok=not remedy, remedy=remedy)
