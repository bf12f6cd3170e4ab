"""The same training by lora_nb and by `mlx_lm.lora`, each in processes of its own, as users do.

Each side comes with whatever it brings: the fast BLAS, the fp32 weights, the trunk cache and the
batches of like lengths are a part of lora_nb. What is compared are trained tokens per second.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lora_nb.config import TrainConfig, as_yaml
from lora_nb.config.derived import scale_of
from lora_nb.demo import DATA_PATH, MODEL_PATH
from lora_nb.runs import attach, launch, lock
from lora_nb.runs.environment import worker_environment
from lora_nb.runs.events import Notice, TrainLoss
from lora_nb.runs.folder import RunFolder

__all__ = ["Report", "Training", "comparable", "machine", "ours", "theirs"]


@dataclass(frozen=True)
class Report:
    """Steps, trained tokens and seconds of training up to a report, and peak memory in GB.

    The loss is the mean since the report before. Peaks of lora_nb begin anew once its frozen
    blocks are released.
    """

    step: int
    tokens: int
    seconds: float
    peak: float
    loss: float = 0.0


@dataclass(frozen=True)
class Training:
    """One training: seconds to the first loss and in all, its reports, what it said of itself.

    `before_release` is the peak in GB until the frozen blocks were released, 0 if none were.
    """

    first_loss: float
    total: float
    reports: list[Report]
    notes: list[str]
    before_release: float = 0.0

    def rate(self, after: int = 0) -> float:
        """Trained tokens per second after the first report at or behind a step (0: from the start).

        The steps to that report are left out: they hold what happens once.
        """
        start = Report(0, 0, 0.0, 0.0)
        if after:
            start = next(report for report in self.reports if report.step >= after)
        end = self.reports[-1]
        return (end.tokens - start.tokens) / (end.seconds - start.seconds)

    @property
    def peak(self) -> float:
        """Peak memory in GB, as MLX counts it."""
        return max(self.before_release, *(report.peak for report in self.reports))

    @property
    def last_peak(self) -> float:
        """The same since the frozen blocks were released, or of the whole run if none were."""
        return self.reports[-1].peak


# The worker's own entry point, with the peak of memory counted anew from the release on.
_WORKER = """
import pathlib, sys
import mlx.core as mx
from lora_nb.core.trunk import Trunk
from lora_nb.worker.__main__ import main
release = Trunk.release
def released(trunk):
    freed = release(trunk)
    pathlib.Path(sys.argv[1], "released").write_text(str(mx.get_peak_memory() / 1e9))
    mx.reset_peak_memory()
    return freed
Trunk.release = released
sys.exit(main(sys.argv[1:]))
"""


def _start(config: TrainConfig, base: Path) -> RunFolder:
    run = launch.create(config, base)
    held = lock.take(run.lock_path)
    assert held is not None
    with run.log_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=worker_environment(dict(os.environ)) | {lock.LOCK_FD: str(held)},
            pass_fds=(held,),
        )
    os.close(held)
    threading.Thread(target=process.wait, daemon=True).start()
    return run


def ours(config: TrainConfig, folder: Path) -> Training:
    """A run of lora_nb without a display."""
    started = time.perf_counter()
    run = _start(config, folder / "runs")
    first, reports, notes = 0.0, [], []
    for record in attach.follow(run):
        if isinstance(event := record.event, TrainLoss):
            first = first or time.perf_counter() - started
            told = (event.step, event.trained_tokens, event.elapsed, event.peak_memory)
            reports.append(Report(*told, event.loss))
        elif isinstance(event, Notice):
            notes.append(event.message)
    if run.status != "completed":
        raise SystemExit(f"lora_nb: {run.status}\n{run.log_tail()}")
    released = run.path / "released"
    before = float(released.read_text()) if released.exists() else 0.0
    return Training(first, time.perf_counter() - started, reports, notes, before)


# mlx_lm.lora's own entry point, with a callback that prints what it is told.
_DRIVER = """
import json, sys
from mlx_lm import lora
class Tell:
    def on_train_loss_report(self, info): print("REPORT", json.dumps(info), flush=True)
    def on_val_loss_report(self, info): pass
lora.get_reporting_callbacks = lambda *a, **k: Tell()
sys.argv = ["mlx_lm.lora", "-c", sys.argv[1], "--train"]
lora.main()
"""


def theirs(config: TrainConfig, folder: Path, *, equal_blas: bool = False) -> Training:
    """The same by `mlx_lm.lora`; with `equal_blas` it is given our BLAS."""
    file = folder / "mlx_lm.yaml"
    file.write_text(as_yaml(config))
    workers = worker_environment(dict(os.environ))
    # Its warm kernels lie where ours do, so that neither side pays for compiling.
    kernels = {"TMPDIR": workers.get("TMPDIR", tempfile.gettempdir())}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=workers if equal_blas else {**os.environ, **kernels},
    )
    assert process.stdout is not None
    first, seconds = 0.0, 0.0
    reports: list[Report] = []
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("REPORT "):
            first = first or time.perf_counter() - started
            told = json.loads(line.removeprefix("REPORT "))
            before = reports[-1].step if reports else 0
            seconds += (told["iteration"] - before) / told["iterations_per_second"]
            # It counts, and trains, one token of padding in every row.
            tokens = int(told["trained_tokens"]) - told["iteration"] * config.batch_size
            figures = (told["iteration"], tokens, seconds, told["peak_memory"])
            reports.append(Report(*figures, told["train_loss"]))
    if process.wait():
        raise SystemExit("mlx_lm.lora failed:\n" + "".join(lines[-20:]))
    return Training(first, time.perf_counter() - started, reports, [])


def comparable(config: TrainConfig) -> TrainConfig:
    """The options of both sides. mlx-lm knows neither `demo` nor an automatic number of layers."""
    parameters = dataclasses.replace(
        config.lora_parameters, scale=scale_of(config.lora_parameters), alpha=None
    )
    return dataclasses.replace(
        config,
        model=str(MODEL_PATH) if config.model == "demo" else config.model,
        data=str(DATA_PATH) if config.data == "demo" else config.data,
        num_layers=config.num_layers or -1,
        lora_parameters=parameters,
        # Both write to one folder, in turn.
        overwrite=True,
    )


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    from importlib.metadata import version

    from lora_nb.runs import blas

    about = {name: version(name) for name in ("mlx", "mlx-lm", "numpy")}
    return {
        **_gpu(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": blas.describe(),
        "load": round(os.getloadavg()[0], 1),
        **about,
    }


def _gpu() -> dict[str, str]:
    """The name and memory of the first NVIDIA GPU, if there is one."""
    asked = "--query-gpu=name,memory.total,driver_version"
    try:
        done = subprocess.run(
            ["nvidia-smi", asked, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    name, memory, driver = done.stdout.splitlines()[0].split(", ")
    return {"gpu": name, "gpu_memory": memory, "driver": driver}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
