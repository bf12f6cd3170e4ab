"""The environment variables a worker starts with."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from lora_nb.runs import blas, compiler, cpus

__all__ = ["worker_environment"]


def worker_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` with what a worker needs: UTF-8, unbuffered logs, and on a Linux CPU a fast BLAS.

    What the user has set stays, and nothing changes in this process. On macOS and with a GPU only
    the first ones, and the parallel tokenizer, are added. The worker imports nothing from its
    working folder, which may be that of a model with a `torch.py` in it.
    """
    environment = dict(base)
    environment["PYTHONSAFEPATH"] = "1"
    if places := _python_path(base.get("PYTHONPATH", "")):
        environment["PYTHONPATH"] = places
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    # Said aloud, or tokenizers turns it off with a warning when MLX starts its compiler.
    environment.setdefault("TOKENIZERS_PARALLELISM", "true")
    # MLX would end at once; without it, the system's own is taken.
    if not Path(environment.get("TMPDIR", os.sep)).is_dir():
        del environment["TMPDIR"]
    if sys.platform == "linux" and blas.on_cpu():
        _add_blas(environment)
        _add_compiler(environment)
    return environment


def _python_path(given: str) -> str:
    """PYTHONPATH without blank places, which mean the working folder, and with this package."""
    places = [place for place in given.split(os.pathsep) if place]
    here = str(Path(__file__).resolve().parents[2])
    if here not in (*places, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        places.append(here)
    return os.pathsep.join(places)


def _add_blas(environment: dict[str, str]) -> None:
    library = blas.preload().path
    if library is None:
        return
    loaded = environment.get("LD_PRELOAD", "")
    if str(library) not in loaded.replace(":", " ").split():
        environment["LD_PRELOAD"] = f"{loaded}:{library}" if loaded else str(library)
    if not any(name in environment for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")):
        # Its threads wait for each other in busy loops. With one on every core, anything else that
        # runs, such as the notebook drawing a curve, holds them all up: small products then take
        # a hundred times as long. So one core stays free.
        environment["OPENBLAS_NUM_THREADS"] = str(max(1, cpus.physical_cores() - 1))


def _add_compiler(environment: dict[str, str]) -> None:
    """A kernel folder of the user's own, and no compiling where the compiler is broken."""
    found = compiler.compiler()
    if found.path and not found.works:
        environment.setdefault("MLX_DISABLE_COMPILE", "1")
    elif found.works and "TMPDIR" not in environment:
        folder = compiler.kernel_folder()
        compiler.remove_torn_kernels(folder)
        environment["TMPDIR"] = str(folder)
