"""What this machine has for lora_nb, and what to install for what is missing."""

from __future__ import annotations

import functools
import html
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lora_nb.runs import blas, compiler, cpus, store
from lora_nb.runs.environment import worker_environment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "Report", "environment"]

_PACKAGES = (
    "mlx", "mlx-lm", "transformers", "huggingface_hub", "datasets", "jupyterlab", "ipykernel",
    "ipywidgets", "matplotlib", "pandas",
)  # fmt: skip
_OPTIONAL = {"wandb": "--report-to wandb", "swanlab": "--report-to swanlab"}
_GB = 1e9
_LEAST_DISK = 5 * _GB
_LEAST_MEMORY = 1 * _GB
_OPEN_FILES = 4096  # what mlx-lm sets for its process when it is imported
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


@dataclass(frozen=True)
class Check:
    """One line: `ok` is None where there is nothing to judge."""

    name: str
    value: str
    ok: bool | None = None
    remedy: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """All checks; shows as text, as a table in a notebook, or as a DataFrame."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True unless a check failed."""
        return all(check.ok is not False for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = []
        for check in self.checks:
            lines.append(f"{_mark(check):2}  {check.name:{width}}  {check.value}")
            if check.remedy:
                lines.append(f"{'':{width + 6}}-> {check.remedy}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{_mark(check)}</td>"
            f'<th scope="row" style="text-align:left">{html.escape(check.name)}</th>'
            f'<td style="text-align:left">{html.escape(check.value)}</td>'
            f'<td style="text-align:left">{html.escape(check.remedy)}</td></tr>'
            for check in self.checks
        )
        # The classes keep JupyterLab from typesetting dollar signs in paths.
        return (
            '<div class="tex2jax_ignore mathjax_ignore"><table><thead><tr>'
            + "".join(f'<th scope="col">{name}</th>' for name in ("", "Check", "Found", "To do"))
            + f"</tr></thead><tbody>{cells}</tbody></table></div>"
        )

    def frame(self) -> pd.DataFrame:
        """The checks as a DataFrame with the columns check, found, ok and todo."""
        import pandas as pd

        rows = [(c.name, c.value, c.ok, c.remedy) for c in self.checks]
        return pd.DataFrame(rows, columns=["check", "found", "ok", "todo"])


def environment(runs: Path | None = None) -> Report:
    """Look at Python, the machine, the backend, the packages and the Hub's settings.

    `runs` is the folder of the runs whose disk is looked at. MLX is only imported in a process of
    its own. A check that goes wrong is a line of the report, never an exception.
    """
    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        _machine,
        functools.partial(_disk, runs),
        _backend,
        _packages,
        _hub,
    )
    return Report(tuple(check for part in parts for check in _guarded(part)))


def _guarded(part: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from part()
    except Exception as problem:  # noqa: BLE001 - a report on a broken machine must still come
        name = getattr(part, "__name__", "disk").strip("_")
        yield Check(name, f"could not be found out: {problem}", ok=False)


def _mark(check: Check) -> str:
    return {True: "ok", False: "!!", None: ""}[check.ok]


def _machine() -> Iterator[Check]:
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


def _disk(runs: Path | None) -> Iterator[Check]:
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


def _backend() -> Iterator[Check]:
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


def _packages() -> Iterator[Check]:
    wanted = _wanted()
    for name in _PACKAGES:
        version = _version(name)
        specifier = wanted.get(name.lower().replace("_", "-"))
        if not version:
            yield Check(name, "missing", ok=False, remedy=f"pip install {name}")
        elif specifier is not None and not specifier.contains(version, prereleases=True):
            yield Check(
                name, version, ok=False, remedy=f"Not tested: pip install '{name}{specifier}'"
            )
        else:
            yield Check(name, version, ok=True)
    for name, use in _OPTIONAL.items():
        version = _version(name)
        remedy = "" if version else f"pip install {name}, only for {use}"
        yield Check(name, version or "not installed", remedy=remedy)


def _wanted() -> dict[str, Any]:
    """The version ranges this package asks for, by the packages' names."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("lora-nb") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = [Requirement(line) for line in lines]
    return {r.name.lower().replace("_", "-"): r.specifier for r in found}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _hub() -> Iterator[Check]:
    where = _token_place()
    yield Check(
        "Hub token",
        f"set ({where})" if where else "none",
        remedy="" if where else "`hf auth login`, only for gated models and uploads.",
    )
    if endpoint := os.environ.get("HF_ENDPOINT"):
        parts = urlsplit(endpoint)
        yield Check("HF_ENDPOINT", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}:
            yield Check(name, "on", remedy="Models and data come from the local cache only.")


def _token_place() -> str:
    """Where a Hub token is set; the token itself is not read."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    file = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
    return str(file) if file.is_file() and file.stat().st_size else ""
