"""How fast float32 matrix products are in a worker, with and without the preloaded library.

`python benchmarks/blas.py [SIZE]` starts one process for each, takes the best of seven products
of SIZE x SIZE (1024 unless given), and prints GFLOP/s and their ratio.
"""

from __future__ import annotations

import os
import subprocess
import sys

from lora_nb.runs import blas
from lora_nb.runs.environment import worker_environment

_PRODUCT = """
import sys, time
import mlx.core as mx
size = int(sys.argv[1])
a, b = mx.random.normal((size, size)), mx.random.normal((size, size))
mx.eval(a @ b)
best = float("inf")
for _ in range(7):
    start = time.perf_counter()
    mx.eval(a @ b)
    best = min(best, time.perf_counter() - start)
print(2 * size**3 / best / 1e9)
"""


def gflops(size: int, environment: dict[str, str]) -> float:
    """Billions of operations a second of MLX's product of two matrices, in its own process."""
    command = [sys.executable, "-c", _PRODUCT, str(size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print both speeds and their ratio."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    without = gflops(size, dict(os.environ))
    with_it = gflops(size, worker_environment(os.environ))
    print(f"float32 {size} x {size} x {size}")
    print(f"  as installed   {without:7.1f} GFLOP/s")
    print(f"  as in a worker {with_it:7.1f} GFLOP/s   {blas.describe()}")
    print(f"  ratio          {with_it / without:7.1f}")


if __name__ == "__main__":
    main()
