"""Does a library multiply matrices rightly? Run as a script, because a bad one ends the process.

`python -I blas_check.py LIBRARY` prints one JSON object: the library's full path and, where it
tells, its version. Exit status 1 and a line on stderr if it cannot be loaded or is wrong.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112
_REALS = {"s": (ctypes.c_float, 1e-3), "d": (ctypes.c_double, 1e-9)}
# Small and odd sizes take other code paths than large ones; MLX asks for all of them.
_SHAPES = ((1, 1, 1), (2, 2, 2), (3, 1, 7), (17, 33, 9), (64, 40, 24))


def main(library: str) -> None:
    """Load `library`, compare its products with plain Python's, and print where it is."""
    blas = ctypes.CDLL(library)
    for kind in _REALS:
        for shape in _SHAPES:
            for transposed in (False, True):
                if not _right(blas, kind, shape, transposed):
                    sys.exit(f"cblas_{kind}gemm of {library} is wrong for {shape}")
    print(json.dumps({"path": _place(library), "version": _version(blas)}))


def _right(blas: ctypes.CDLL, kind: str, shape: tuple[int, int, int], transposed: bool) -> bool:
    """Is `c = 2 a b + 3 c`, where b may be given transposed, what plain Python makes of it?"""
    real, tolerance = _REALS[kind]
    m, n, k = shape
    a, b, c = _numbers(m * k, 7), _numbers(k * n, 5), _numbers(m * n, 3)
    expected = [
        2 * sum(a[i * k + p] * b[j * k + p if transposed else p * n + j] for p in range(k))
        + 3 * c[i * n + j]
        for i in range(m)
        for j in range(n)
    ]
    left, right, result = ((real * len(v))(*v) for v in (a, b, c))
    getattr(blas, f"cblas_{kind}gemm")(
        _ROW_MAJOR, _PLAIN, _TRANSPOSED if transposed else _PLAIN, m, n, k,
        real(2), left, k, right, k if transposed else n, real(3), result, n,
    )  # fmt: skip
    return all(abs(x - y) <= tolerance for x, y in zip(result, expected, strict=True))


def _numbers(count: int, step: int) -> Sequence[float]:
    return [((i * step) % 11 - 5) / 4 for i in range(count)]


def _place(library: str) -> str:
    """The full path of a loaded library; `library` may be a name the loader searched for."""
    if "/" in library:
        return library
    stem = library.partition(".so")[0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.rpartition(" ")[2]
        if Path(path).name.startswith(stem):
            return path
    return library


def _version(blas: ctypes.CDLL) -> str:
    for name in ("scipy_openblas_get_config", "openblas_get_config"):
        try:
            config = blas[name]
        except AttributeError:
            continue
        config.restype = ctypes.c_char_p
        found = re.search(r"\d+(\.\d+)+", (config() or b"").decode("ascii", "replace"))
        return found[0] if found else ""
    return ""


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (OSError, AttributeError) as problem:
        sys.exit(str(problem))
