"""`%lora_train` against `mlx_lm.lora` on the same model, rows and options, in one run.

    python benchmarks/throughput.py [--model demo --data demo] [--iters 200] [--repeat 3]

Both sides are run in turn, each in processes of its own, as a user would start them, each with
whatever it brings: the fast BLAS and the fp32 weights are a part of lora_nb. Printed: the ratio of
training throughput (trained tokens per second of the later reports, so without the warm-up), the
time from start to the first reported loss, and what showing the run costs. `--equal-blas` gives
mlx_lm.lora the same preloaded BLAS, to see what is left of the ratio.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lora_nb.config import TrainConfig, as_yaml, load
from lora_nb.config.rules import scale_of
from lora_nb.demo import DATA_PATH, MODEL_PATH
from lora_nb.display import LiveView
from lora_nb.display.screen import PictureScreen
from lora_nb.runs import attach, launch
from lora_nb.runs.environment import worker_environment
from lora_nb.runs.events import TrainLoss


@dataclass
class Measured:
    """One training: seconds to the first loss and in all, trained tokens per second."""

    first_loss: float
    total: float
    tokens_per_second: float


def ours(config: TrainConfig, folder: Path) -> Measured:
    """A run of lora_nb without a display."""
    started = time.perf_counter()
    run = launch.start(config, folder / "runs")
    first, rates = 0.0, []
    for record in attach.follow(run):
        if isinstance(record.event, TrainLoss):
            first = first or time.perf_counter() - started
            rates.append(record.event.tokens_per_second)
    if run.status != "completed":
        raise SystemExit(f"lora_nb: {run.status}\n{run.log_tail()}")
    return Measured(first, time.perf_counter() - started, statistics.median(rates[1:] or rates))


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


def theirs(config: TrainConfig, folder: Path, *, equal_blas: bool) -> Measured:
    """The same by `mlx_lm.lora`."""
    file = folder / "mlx_lm.yaml"
    file.write_text(as_yaml(config))
    ours = worker_environment(dict(os.environ))
    # Its warm kernels lie where ours do, so that neither side pays for compiling.
    environment = (
        ours if equal_blas else {**os.environ, "TMPDIR": ours.get("TMPDIR", tempfile.gettempdir())}
    )
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    first, rates, lines = 0.0, [], []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("REPORT "):
            first = first or time.perf_counter() - started
            rates.append(json.loads(line.removeprefix("REPORT "))["tokens_per_second"])
    if process.wait():
        raise SystemExit("mlx_lm.lora failed:\n" + "".join(lines[-20:]))
    return Measured(first, time.perf_counter() - started, statistics.median(rates[1:] or rates))


def display_cost(config: TrainConfig, folder: Path) -> float:
    """CPU seconds that a kernel spends on following and drawing a run, per second of the run."""
    run = launch.start(config, folder / "runs")
    started, busy = time.perf_counter(), time.process_time()
    screen = PictureScreen(run.name)
    screen._handle = _Nowhere()  # noqa: SLF001 (no notebook here)
    view = LiveView(str(run.path), screen=screen)
    for record in attach.follow(run, idle=view.tick):
        view.feed(record)
    view.close(run.status)
    return (time.process_time() - busy) / (time.perf_counter() - started)


class _Nowhere:
    """A display handle whose pictures nobody sees."""

    def display(self, *bundle: object, **options: object) -> None:
        """Take the first picture."""

    def update(self, *bundle: object, **options: object) -> None:
        """Take another one."""


def main() -> None:
    """Measure, print the figures, and keep them as JSON where `--out` says."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _config(arguments, folder)
        mine, other = [], []
        for _ in range(arguments.repeat):
            other.append(theirs(config, folder, equal_blas=arguments.equal_blas))
            mine.append(ours(config, folder))
        shown = display_cost(config, folder)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "options": {"model": config.model, "data": config.data, "iters": config.iters},
        "equal_blas": arguments.equal_blas,
        "lora_nb": [asdict(m) for m in mine],
        "mlx_lm": [asdict(m) for m in other],
        "throughput_ratio": _median(mine, "tokens_per_second")
        / _median(other, "tokens_per_second"),
        "first_loss_ratio": _median(other, "first_loss") / _median(mine, "first_loss"),
        "display_cpu_share": shown,
    }
    print(
        f"throughput   lora_nb {_median(mine, 'tokens_per_second'):,.0f} trained tokens/s, "
        f"mlx_lm.lora {_median(other, 'tokens_per_second'):,.0f}: "
        f"{result['throughput_ratio']:.1f}x"
    )
    print(
        f"first loss   lora_nb {_median(mine, 'first_loss'):.1f} s, "
        f"mlx_lm.lora {_median(other, 'first_loss'):.1f} s"
    )
    print(
        f"whole run    lora_nb {_median(mine, 'total'):.1f} s, "
        f"mlx_lm.lora {_median(other, 'total'):.1f} s"
    )
    print(f"display      {100 * shown:.1f} % of one core")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def _median(measured: list[Measured], field: str) -> float:
    return float(statistics.median(getattr(m, field) for m in measured))


def _config(arguments: argparse.Namespace, folder: Path) -> TrainConfig:
    """The options of both sides. mlx-lm knows neither `demo` nor an automatic number of layers."""
    config = load(
        TrainConfig,
        flags={
            "model": arguments.model,
            "data": arguments.data,
            "iters": arguments.iters,
            "steps_per_report": 10,
            "steps_per_eval": arguments.iters,
            "val_batches": 1,
            "adapter_path": str(folder / "adapters"),
        },
    )
    parameters = dataclasses.replace(
        config.lora_parameters, scale=scale_of(config.lora_parameters), alpha=None
    )
    return dataclasses.replace(
        config,
        model=str(MODEL_PATH) if config.model == "demo" else config.model,
        data=str(DATA_PATH) if config.data == "demo" else config.data,
        num_layers=config.num_layers or -1,
        lora_parameters=parameters,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--iters", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--equal-blas", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
