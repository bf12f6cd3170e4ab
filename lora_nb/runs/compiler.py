"""The C++ compiler that MLX calls at run time on a Linux CPU, and the folder it compiles into.

`mx.compile` looks for `g++` on PATH. Without one it runs uncompiled; with one that cannot compile
it raises, so a broken one has to be known before a worker starts.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lora_nb.runs.cache import cache_folder

__all__ = ["Compiler", "compiler", "kernel_folder", "remove_torn_kernels"]

_SOURCE = """
#include <cmath>
#include <complex>
#include <cstdint>
extern "C" double probe(double x) { return std::abs(std::complex<double>(3 * x, 4 * x)); }
"""
_LOAD = """
import ctypes, sys
probe = ctypes.CDLL(sys.argv[1]).probe
probe.argtypes, probe.restype = [ctypes.c_double], ctypes.c_double
sys.exit(probe(2.0) != 10.0)
"""
_PROBE_SECONDS = 60
_REMEMBERED_SECONDS = 24 * 3600
_BEING_WRITTEN_SECONDS = 60


@dataclass(frozen=True)
class Compiler:
    """`path` is empty where there is none; `works` is whether MLX can use what it makes."""

    path: str
    works: bool
    problem: str = ""


def kernel_folder() -> Path:
    """A private TMPDIR for workers: MLX keeps compiled kernels in `$TMPDIR/mlx/<version>/cpu`.

    The default, /tmp/mlx, belongs to whoever came first, who could break or replace the kernels
    that others load, and it is emptied at every start of the machine.
    """
    folder = cache_folder() / "tmp"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@functools.cache
def compiler() -> Compiler:
    """The `g++` on PATH, tried once; a success is remembered for a day."""
    path = shutil.which("g++")
    if path is None:
        return Compiler("", False, "not found")
    memory = cache_folder() / "compiler.json"
    key = _identity(path)
    if _remembered(memory, key):
        return Compiler(path, True)
    problem = _probe(path)
    if not problem:
        _remember(memory, key)
    return Compiler(path, not problem, problem)


def _probe(path: str) -> str:
    """What goes wrong in compiling and loading a few lines, or an empty string."""
    try:
        with tempfile.TemporaryDirectory(prefix="probe-", dir=kernel_folder()) as name:
            library = Path(name, "probe.so")
            command = [path, "-std=c++17", "-O3", "-Wall", "-fPIC", "-shared", "-x", "c++", "-"]
            _run([*command, "-o", str(library)], _SOURCE)
            _run([sys.executable, "-I", "-c", _LOAD, str(library)], "")
    except subprocess.CalledProcessError as problem:
        lines = str(problem.stderr).strip().splitlines()
        return lines[0] if lines else f"exit status {problem.returncode}"
    except (OSError, subprocess.SubprocessError) as problem:
        return str(problem)
    return ""


def _run(command: list[str], text: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    subprocess.run(
        command,
        input=text,
        env=environment,
        text=True,
        errors="replace",
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=True,
    )


def _identity(path: str) -> str:
    found = Path(path).stat()
    return f"{os.path.realpath(path)} {found.st_size} {found.st_mtime_ns}"


def _remembered(memory: Path, key: str) -> bool:
    try:
        noted = json.loads(memory.read_text())
        return bool(noted["key"] == key and 0 <= time.time() - noted["time"] < _REMEMBERED_SECONDS)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remember(memory: Path, key: str) -> None:
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({"key": key, "time": time.time()}))
        temporary.replace(memory)
    except OSError:
        temporary.unlink(missing_ok=True)


def remove_torn_kernels(folder: Path) -> list[Path]:
    """Delete compiled kernels under `folder` that are not whole, and return their paths.

    A full disk or a killed compiler leaves a part of a library, and MLX loads whatever has the
    right name: an error at best, else the end of the process. Files of the last minute may still
    be in the making and stay.
    """
    removed = []
    for path in folder.glob("mlx/*/cpu/*.so"):
        try:
            if time.time() - path.stat().st_mtime > _BEING_WRITTEN_SECONDS and not _whole(path):
                path.unlink()
                removed.append(path)
        except OSError:
            continue
    return removed


def _whole(path: Path) -> bool:
    """Does a 64-bit ELF file reach to the end of its section table, which is written last?"""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 64 or head[:4] != b"\x7fELF":
        return False
    (table,) = struct.unpack_from("<Q", head, 40)
    size, count = struct.unpack_from("<HH", head, 58)
    return bool(path.stat().st_size >= table + size * count)
