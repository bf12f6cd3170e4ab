"""Training throughput against `mlx_lm.lora`, and how it grows with batch, length and rows.

    python -m benchmarks.training [--case SHAPE:LAYERS:BATCH[:4bit] ...] [--repeat 2] [--no-growth]

A case is a model (demo, 100m, mistral-7b), how many of its layers are trained (-1: all), and the
rows in a batch. Both sides train in turn, as often as `--repeat` says (once where that takes more
than a minute), on the same model, rows and options; mlx_lm.lora for a few steps only, since each
of its epochs costs the same. Its first step is left out. Printed and kept as JSON in
benchmarks/results/: the ratios after lora_nb's first epoch and over all of its epochs, the peaks
of memory, and how tokens per second grow.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.random_models import random_model, rows
from benchmarks.side_by_side import Training, comparable, machine, ours, theirs
from lora_nb.config import ConvertConfig, TrainConfig, load
from lora_nb.runs import attach, launch

RESULTS = Path(__file__).parent / "results"
CASES = ("demo:4:8", "demo:-1:8", "100m:4:2", "100m:-1:2")
# A pair that takes longer is not repeated.
PAIR_SECONDS = 60.0
EPOCHS = 4
BATCHES_AN_EPOCH = 12
_CACHE = re.compile(r"\(([\d.]+) GB\)")


@dataclass(frozen=True)
class Case:
    """A model, the number of its layers that are trained, and the rows in a batch."""

    shape: str
    layers: int
    batch: int
    bits: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case that `SHAPE:LAYERS:BATCH[:4bit]` means."""
        shape, layers, batch, *bits = text.split(":")
        return cls(shape, int(layers), int(batch), 4 if bits else 0)

    def __str__(self) -> str:
        layers = "all layers" if self.layers == -1 else f"{self.layers} layers"
        return f"{self.shape}{' 4 bits' if self.bits else ''}, {layers}, batch {self.batch}"


class Bench:
    """Makes models and rows once, in a folder that is removed afterwards."""

    def __init__(self, folder: Path, their_steps: int) -> None:
        self.folder = folder
        self.their_steps = their_steps
        self._made = 0

    def model(self, shape: str, bits: int = 0) -> str:
        """The folder of a model, or `demo`."""
        if bits:
            target = self.folder / f"{shape}-{bits}bit"
            if not target.exists():
                config = ConvertConfig(
                    model=self.model(shape), mlx_path=str(target), quantize=True, q_bits=4
                )
                for _ in attach.follow(launch.start(config, self.folder / "runs")):
                    pass
            return str(target)
        if shape == "demo":
            return shape
        path = self.folder / shape
        return str(path if path.exists() else random_model(path, shape))

    def config(self, model: str, count: int, words: int | None = None, **flags: Any) -> TrainConfig:
        """Options of both sides on `count` rows."""
        self._made += 1
        data = rows(self.folder / f"rows-{self._made}", count, words=words)
        usual = {
            "model": model,
            "data": str(data),
            "mask_prompt": words is None,
            "fit": "off",
            "save_every": 10**6,
            "steps_per_eval": 10**6,
            "adapter_path": str(self.folder / "adapters"),
        }
        return comparable(load(TrainConfig, flags=usual | flags))

    def compared(self, case: Case, repeat: int) -> dict[str, Any]:
        """Both sides in turn."""
        count = case.batch * BATCHES_AN_EPOCH
        layers = {"num_layers": case.layers, "batch_size": case.batch}
        model = self.model(case.shape, case.bits)
        mine = self.config(
            model, count, epochs=EPOCHS, steps_per_report=BATCHES_AN_EPOCH // 2, **layers
        )
        other = self.config(model, count, iters=self.their_steps, steps_per_report=1, **layers)
        pairs = []
        for _ in range(repeat):
            started = time.perf_counter()
            told = theirs(other, self.folder)
            pairs.append((ours(mine, self.folder), told))
            if time.perf_counter() - started > PAIR_SECONDS:
                break
        return _result(case, pairs)

    def growth(self) -> dict[str, list[dict[str, Any]]]:
        """Tokens per second of the demo model against batch, length and rows, and the cache."""
        axes = {
            "batch": [(64, 48, batch) for batch in (1, 4, 16, 64)],
            "length": [(16, words, 4) for words in (24, 56, 120, 248)],
            "rows": [(count, 24, 8) for count in (64, 256, 1024)],
        }
        return {axis: [self._grown(*point) for point in points] for axis, points in axes.items()}

    def _grown(self, count: int, words: int, batch: int) -> dict[str, Any]:
        config = self.config(
            "demo", count, words=words, epochs=2, num_layers=4, batch_size=batch,
            steps_per_report=-(-count // batch),
        )  # fmt: skip
        run = ours(config, self.folder)
        first, second = run.reports[0], run.reports[-1]
        sizes = [found for note in run.notes if (found := _CACHE.search(note))]
        return {
            "rows": count,
            "tokens_a_row": first.tokens // count,
            "batch": batch,
            "first_epoch": first.tokens / first.seconds,
            "later_epochs": run.rate(first.step),
            "seconds_a_row": (second.seconds - first.seconds) / count,
            "cache_gb": float(sizes[0][1]) if sizes else 0.0,
            "peak_gb": run.peak,
        }


def _result(case: Case, pairs: list[tuple[Training, Training]]) -> dict[str, Any]:
    later = [mine.rate(BATCHES_AN_EPOCH) / other.rate(1) for mine, other in pairs]
    overall = [mine.rate() / other.rate(1) for mine, other in pairs]
    return {
        "case": str(case),
        "after_first_epoch": statistics.median(later),
        "over_all_epochs": statistics.median(overall),
        "each_after_first_epoch": later,
        "each_over_all_epochs": overall,
        "lora_nb": [asdict(mine) for mine, _ in pairs],
        "mlx_lm": [asdict(other) for _, other in pairs],
    }


def _told(result: dict[str, Any]) -> str:
    mine, other = result["lora_nb"][-1], result["mlx_lm"][-1]
    return (
        f"{result['case']:32} after the first epoch {result['after_first_epoch']:5.1f}x, "
        f"over {EPOCHS} epochs {result['over_all_epochs']:5.1f}x, "
        f"peak {mine['reports'][-1]['peak']:.2f} GB against {other['reports'][-1]['peak']:.2f} GB"
    )


def main() -> None:
    """Measure, print, and keep the raw figures."""
    arguments = _arguments()
    started = time.perf_counter()
    found: dict[str, Any] = {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
    path = arguments.out or RESULTS / "training-cpu.json"
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), arguments.their_steps)
        found["cases"] = []
        for case in map(Case.parse, arguments.case or CASES):
            found["cases"].append(bench.compared(case, arguments.repeat))
            print(_told(found["cases"][-1]), flush=True)
            _keep(path, found)
        if not arguments.no_growth:
            found["growth"] = bench.growth()
            for axis, points in found["growth"].items():
                _print_growth(axis, points)
    found["seconds"] = round(time.perf_counter() - started, 1)
    print(f"\n{found['seconds']:.0f} seconds")
    _keep(path, found)


def _keep(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def _print_growth(axis: str, points: list[dict[str, Any]]) -> None:
    print(f"\n{axis:>8}  tok/s first epoch  later epochs  ms a row  cache")
    for point in points:
        key = "tokens_a_row" if axis == "length" else axis
        print(
            f"{point[key]:8}  {point['first_epoch']:17,.0f}  {point['later_epochs']:12,.0f}"
            f"  {1e3 * point['seconds_a_row']:8.1f}  {point['cache_gb']:.2f} GB"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="SHAPE:LAYERS:BATCH[:4bit]")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--their-steps", type=int, default=3)
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
