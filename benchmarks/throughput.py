"""`%lora_train` against `mlx_lm.lora` on the same model, rows and options, in one run.

    python -m benchmarks.throughput [--model demo --data demo] [--iters 200] [--repeat 3]

Both sides are run in turn, as `side_by_side` says. Printed: the ratio of training throughput
(trained tokens per second after the first report, so without the warm-up), the time from start to
the first reported loss, and what showing the run costs. `--equal-blas` gives
mlx_lm.lora the same preloaded BLAS, to see what is left of the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import Training, comparable, machine, ours, theirs
from lora_nb.config import TrainConfig, load
from lora_nb.display import LiveView
from lora_nb.display.screen import PictureScreen
from lora_nb.runs import attach, launch


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
        "machine": machine(),
        "options": {"model": config.model, "data": config.data, "iters": config.iters},
        "equal_blas": arguments.equal_blas,
        "lora_nb": [_figures(m) for m in mine],
        "mlx_lm": [_figures(m) for m in other],
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


def _median(trainings: list[Training], figure: str) -> float:
    return float(statistics.median(_figures(training)[figure] for training in trainings))


def _figures(training: Training) -> dict[str, float]:
    return {
        "first_loss": training.first_loss,
        "total": training.total,
        "tokens_per_second": training.rate(training.reports[0].step),
    }


def _config(arguments: argparse.Namespace, folder: Path) -> TrainConfig:
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
    return comparable(config)


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
