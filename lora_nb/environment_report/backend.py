"""What MLX computes on, how fast, and what would make it faster."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_nb.environment_report.report import Check
from lora_nb.runs import blas, compiler
from lora_nb.runs.environment import worker_environment

__all__ = ["backend"]

_PROBE_SECONDS = 30
_PROBE = """
import json, time
import mlx.core as mx
cuda = getattr(mx, "cuda", None)
device = mx.default_device()
kind = "CPU"
if device.type == mx.gpu:
    kind = "CUDA" if cuda and cuda.is_available() else "Metal"
info = mx.device_info() if hasattr(mx, "device_info") else {}
a = mx.ones((512, 512))
mx.eval(a @ a)
best = 1e9
for _ in range(3):
    start = time.perf_counter()
    mx.eval(a @ a)
    best = min(best, time.perf_counter() - start)
print(json.dumps({"kind": kind, "device": str(info.get("device_name", "")),
                  "gflops": 2 * 512 ** 3 / best / 1e9}))
"""


def backend() -> Iterator[Check]:
    """What a worker would have; MLX is imported in a process of its own."""
    found = _probe(sys.executable)
    if "problem" in found:
        yield Check("backend", str(found["problem"]), ok=False, remedy=_how_to_install_mlx())
        return
    kind, device = str(found["kind"]), str(found["device"])
    line = f"{kind}, {device}" if device else kind
    if kind != "CPU" or sys.platform != "linux":
        yield Check("backend", line, ok=True)
        return
    extra = _cuda_extra()
    remedy = f"An NVIDIA GPU is here: pip install 'lora-nb[{extra}]' to use it." if extra else ""
    yield Check("backend", line, ok=True, remedy=remedy)
    library = blas.preload()
    fast = library.path is not None
    speed = f"{float(found['gflops']):.0f} GFLOP/s in float32"
    yield Check(
        "BLAS",
        f"{library.name} {library.version}".strip() + f", {speed}",
        ok=fast,
        remedy="" if fast else f"{library.note[:1].upper()}{library.note[1:]}.",
    )
    yield _compiler()


def _compiler() -> Check:
    """Without a compiler all works, slower; a broken one is worth mending."""
    found = compiler.compiler()
    if not found.path:
        return Check(
            "C++ compiler", "none, so mx.compile is off", remedy=f"{_install('g++')} for speed."
        )
    if found.works:
        return Check("C++ compiler", f"{found.path}, for mx.compile", ok=True)
    value = f"{found.path} does not work ({found.problem}), so mx.compile is off"
    return Check("C++ compiler", value, ok=False, remedy=f"{_install('g++')}.")


def _install(package: str) -> str:
    if shutil.which("apt-get"):
        return f"sudo apt-get install {package}"
    if shutil.which("dnf"):
        return f"sudo dnf install {'gcc-c++' if package == 'g++' else package}"
    return f"Install {package}"


@functools.cache
def _probe(python: str) -> dict[str, Any]:
    """Backend, device and speed of MLX as a worker has it, or `problem`."""
    try:
        done = subprocess.run(
            [python, "-c", _PROBE],
            env=worker_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"MLX did not start within {_PROBE_SECONDS} s"}
    except OSError as problem:
        return {"problem": f"MLX could not be tried: {problem}"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"problem": f"MLX does not start: {last}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _how_to_install_mlx() -> str:
    if sys.platform == "darwin":
        return "pip install mlx"
    return f"pip install 'lora-nb[{_cuda_extra() or 'cpu'}]'"


def _cuda_extra() -> str:
    """The extra for the NVIDIA driver that runs here, or an empty string."""
    driver = Path("/proc/driver/nvidia/version")
    # In a container the driver of the host is told, whether or not it may be used.
    if not Path("/dev/nvidiactl").exists() or not driver.exists():
        return ""
    words = driver.read_text().split()
    version = next((word for word in words if word[0].isdigit() and "." in word), "0")
    major = int(version.partition(".")[0])
    return "cuda13" if major >= 580 else "cuda12" if major >= 550 else ""
