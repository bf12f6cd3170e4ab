"""Which library multiplies matrices on a Linux CPU.

MLX's wheel for Linux CPUs is linked with the reference BLAS, which is tens of times slower than
a tuned one. It calls `cblas_?gemm` through the dynamic loader, so a library that is loaded before
it wins. In order: `scipy-openblas32` (an extra of this package) behind a shim that gives its
functions the standard names, an OpenBLAS or MKL of the system, the reference.

Nothing here loads a library or MLX into this process, and nothing raises.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lora_nb.runs import shim
from lora_nb.runs.cache import cache_folder

__all__ = ["VARIABLE", "Blas", "describe", "on_cpu", "preload"]

VARIABLE = "LORA_NB_BLAS"
"""Environment variable: `off` for no preload, or the path of a library to use."""

_GEMM = {f"cblas_{kind}gemm": f"scipy_cblas_{kind}gemm" for kind in "sdcz"}
_SYSTEM = (
    ("OpenBLAS", "libopenblasp.so.0"),  # Fedora and its kin: the one with threads
    ("OpenBLAS", "libopenblas.so.0"),
    ("MKL", "libmkl_rt.so.3"),
    ("MKL", "libmkl_rt.so.2"),
)
_CHECK_SECONDS = 30


@dataclass(frozen=True)
class Blas:
    """A BLAS library: `path` is what to preload, None where nothing should be."""

    name: str
    version: str
    path: Path | None
    note: str

    def __str__(self) -> str:
        name = f"{self.name} {self.version}".strip()
        return f"{name} ({self.note})" if self.note else name


def on_cpu() -> bool:
    """Is MLX installed here as its wheel for Linux CPUs?"""
    return sys.platform == "linux" and bool(_version_of("mlx-cpu"))


def preload() -> Blas:
    """The library that a worker on this machine should load before MLX. Never raises."""
    return _chosen(os.environ.get(VARIABLE, ""))


def describe() -> str:
    """One line about `preload()` for people: the library, or what to install for a fast one."""
    return str(preload())


@functools.cache
def _chosen(wish: str) -> Blas:
    if not on_cpu():
        return Blas("MLX's own", "", None, "")
    if wish == "off":
        return Blas("reference BLAS", "", None, f"{VARIABLE}=off")
    if wish:
        return _named(wish)
    return _bundled() or _of_the_system() or _reference("slow")


def _reference(why: str) -> Blas:
    return Blas("reference BLAS", "", None, f"{why}; pip install scipy-openblas32 for a fast one")


def _named(library: str) -> Blas:
    found = _checked(library)
    if found is None:
        return _reference(f"slow; {VARIABLE}={library} does not work")
    return Blas(Path(library).name, found.version, found.path, VARIABLE)


@dataclass(frozen=True)
class _Found:
    path: Path
    version: str


def _bundled() -> Blas | None:
    """`scipy-openblas32` through a shim, which is made and checked once per user."""
    library = _scipy_openblas()
    if library is None or platform.machine() not in shim.MACHINES:
        return None
    path = _published(shim.shared_object(_GEMM, str(library), platform.machine()))
    if path is None:
        return None
    version = ".".join(_version_of("scipy-openblas32").split(".")[:3])
    return Blas("OpenBLAS", version, path, "scipy-openblas32 through a shim")


def _scipy_openblas() -> Path | None:
    try:
        spec = importlib.util.find_spec("scipy_openblas32")
    except (ImportError, ValueError):
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder, "lib").glob("libscipy_openblas*.so")):
            return path.resolve()
    return None


def _published(image: bytes) -> Path | None:
    """The shim's file in the cache, named by its content; None if it does not work here.

    Only a checked file gets the final name, and by a rename, so that two processes may do this at
    once and a reader never sees half of one.
    """
    import hashlib

    final = cache_folder() / f"blas-{hashlib.sha256(image).hexdigest()[:16]}.so"
    temporary = None
    try:
        if final.exists() and final.read_bytes() == image:
            return final
        handle, temporary = tempfile.mkstemp(suffix=".so", dir=final.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(image)
            os.fchmod(handle, 0o700)
        if _checked(temporary) is None:
            return None
        Path(temporary).replace(final)
        temporary = None
        return final
    except OSError:
        return None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _of_the_system() -> Blas | None:
    own = Path(sys.prefix, "lib")
    for name, library in _SYSTEM:
        for place in (str(own / library), library):
            found = _checked(place) if "/" not in place or Path(place).exists() else None
            if found:
                return Blas(name, found.version, found.path, str(found.path))
    return None


def _checked(library: str) -> _Found | None:
    """Where `library` is and its version, if a process of its own computes rightly with it."""
    script = Path(__file__).with_name("blas_check.py")
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(script), library],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_SECONDS,
            check=True,
        )
        told = json.loads(done.stdout)
        return _Found(Path(told["path"]), str(told["version"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
