"""Training throughput against `mlx_lm.lora`, and how it grows with batch, length and rows.

    python -m benchmarks.training [--case SHAPE:LAYERS:BATCH[:4bit] ...] [--repeat 2]
        [--equal SHAPE:LAYERS:BATCH[:4bit] ...] [--growth demo|llama-1b|mistral-7b|off]

A case is a model (demo, 100m, llama-1b, mistral-7b), how many of its layers are trained (-1: all),
and the rows in a batch. Both sides train in turn, as often as `--repeat` says (once where that
takes more than a minute), on the same model, rows and options; mlx_lm.lora for a few steps only,
since each of its epochs costs the same, and without its first ones. `--equal` compares lora_nb's
losses with and without the trunk cache. Printed and kept as JSON: the ratios in lora_nb's first
epoch, after it and over all of its epochs, the peaks of memory, and how tokens per second grow.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.random_models import random_model, rows
from benchmarks.side_by_side import Training, comparable, machine, ours, theirs
from lora_nb.config import TrainConfig, load

RESULTS = Path(__file__).parent / "results"
CASES = ("demo:4:8", "demo:-1:8", "100m:4:2", "100m:-1:2")
# A pair that takes longer is not repeated.
PAIR_SECONDS = 60.0
EPOCHS = 4
BATCHES_AN_EPOCH = 12
# What growth is looked at with: rows, words a row, rows a batch.
Point = tuple[int, int, int]
AXES: dict[str, list[Point]] = {
    "batch": [(64, 48, batch) for batch in (1, 4, 16, 64)],
    "length": [(16, words, 4) for words in (24, 56, 120, 248)],
    "rows": [(count, 24, 8) for count in (64, 256, 1024)],
}
LARGE_AXES: dict[str, list[Point]] = {
    "rows": [(count, 96, 8) for count in (128, 512, 2048)],
    "length": [(64, words, 4) for words in (56, 248, 1000)],
    "batch": [(256, 96, batch) for batch in (1, 4, 16, 64)],
}
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


@dataclass(frozen=True)
class Extent:
    """How long the sides train: rows at least, steps of mlx-lm, those of them that are left out."""

    least_rows: int
    their_steps: int
    their_warm_up: int


class Bench:
    """Makes models and rows once, in a folder that is removed afterwards."""

    def __init__(self, folder: Path, extent: Extent, models: Path | None = None) -> None:
        self.folder = folder
        self.extent = extent
        self._models = models or folder
        self._made = 0

    def model(self, shape: str, bits: int = 0) -> str:
        """The folder of a model, or `demo`."""
        if shape == "demo" and not bits:
            return shape
        path = self._models / (f"{shape}-{bits}bit" if bits else shape)
        return str(path if path.exists() else random_model(path, shape, bits))

    def config(self, model: str, count: int, words: int | None = None, **flags: Any) -> TrainConfig:
        """Options of both sides on `count` rows; those of large models are as long as WikiSQL's."""
        self._made += 1
        small = model == "demo" or "100m" in model
        data = rows(self.folder / f"rows-{self._made}", count, words=words, paired=not small)
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

    def case(self, case: Case, **flags: Any) -> TrainConfig:
        """Options of both sides in a case."""
        count = max(case.batch * BATCHES_AN_EPOCH, self.extent.least_rows)
        return self.config(
            self.model(case.shape, case.bits),
            count - count % case.batch,
            num_layers=case.layers,
            batch_size=case.batch,
            **flags,
        )

    def compared(self, case: Case, repeat: int) -> dict[str, Any]:
        """Both sides in turn."""
        mine = self.case(case, epochs=EPOCHS)
        epoch = _count(mine) // case.batch
        mine = replace(mine, steps_per_report=epoch // 2)
        other = self.case(case, iters=self.extent.their_steps, steps_per_report=1)
        pairs = []
        for _ in range(repeat):
            started = time.perf_counter()
            told = theirs(other, self.folder)
            pairs.append((ours(mine, self.folder), told))
            if time.perf_counter() - started > PAIR_SECONDS:
                break
        return {"case": str(case)} | _result(pairs, epoch, self.extent.their_warm_up)

    def equal(self, case: Case) -> dict[str, Any]:
        """The losses of every step with and without the trunk cache."""
        base = self.case(case, epochs=2, steps_per_report=1)
        runs = {
            cache: ours(replace(base, trunk_cache=cache), self.folder)
            for cache in ("memory", "off")
        }
        kept, plain = ([report.loss for report in run.reports] for run in runs.values())
        off = [abs(a - b) / abs(b) for a, b in zip(kept, plain, strict=True)]
        epoch = len(off) // 2
        return {
            "case": str(case),
            "largest_in_first_epoch": max(off[:epoch]),
            "largest_in_second_epoch": max(off[epoch:]),
            "with_cache": kept,
            "without_cache": plain,
            "faster": runs["memory"].rate(epoch) / runs["off"].rate(epoch),
        }

    def growth(self, shape: str, tell: Callable[[str, list[dict[str, Any]]], None]) -> None:
        """Tokens per second of a model against batch, length and rows, and the cache."""
        axes = AXES if shape in ("demo", "100m") else LARGE_AXES
        for axis, points in axes.items():
            tell(axis, [self._grown(shape, *point) for point in points])

    def _grown(self, shape: str, count: int, words: int, batch: int) -> dict[str, Any]:
        config = self.config(
            self.model(shape), count, words=words, epochs=3, num_layers=4, batch_size=batch,
            steps_per_report=-(-count // batch),
        )  # fmt: skip
        run = ours(config, self.folder)
        first, second, last = run.reports[0], run.reports[1], run.reports[-1]
        sizes = [found for note in run.notes if (found := _CACHE.search(note))]
        return {
            "rows": count,
            "tokens_a_row": first.tokens // count,
            "batch": batch,
            "first_epoch": first.tokens / first.seconds,
            "later_epochs": run.rate(first.step),
            "last_epoch": run.rate(second.step),
            "seconds_a_row": (last.seconds - first.seconds) / count / 2,
            "cache_gb": float(sizes[0][1]) if sizes else 0.0,
            "peak_gb": run.peak,
            "peak_after_release_gb": run.last_peak,
        }


def _count(config: TrainConfig) -> int:
    return len(Path(config.data, "train.jsonl").read_text().splitlines())


def _result(pairs: list[tuple[Training, Training]], epoch: int, warm_up: int) -> dict[str, Any]:
    def median(ratio: Callable[[Training], float]) -> float:
        return statistics.median(ratio(mine) / other.rate(warm_up) for mine, other in pairs)

    last = epoch * (EPOCHS - 1)
    return {
        "in_first_epoch": median(lambda mine: _first(mine, epoch)),
        "after_first_epoch": median(lambda mine: mine.rate(epoch)),
        "in_last_epoch": median(lambda mine: mine.rate(last)),
        "over_all_epochs": median(Training.rate),
        "each_after_first_epoch": [a.rate(epoch) / b.rate(warm_up) for a, b in pairs],
        "each_over_all_epochs": [a.rate() / b.rate(warm_up) for a, b in pairs],
        "tokens_per_second": median(lambda mine: mine.rate(epoch)) * pairs[0][1].rate(warm_up),
        "peak_after_release": pairs[-1][0].last_peak / pairs[-1][1].peak,
        "peak": pairs[-1][0].peak / pairs[-1][1].peak,
        "lora_nb": [asdict(mine) for mine, _ in pairs],
        "mlx_lm": [asdict(other) for _, other in pairs],
    }


def _first(mine: Training, epoch: int) -> float:
    end = next(report for report in mine.reports if report.step >= epoch)
    return end.tokens / end.seconds


def _told(result: dict[str, Any]) -> str:
    mine, other = (result[side][-1] for side in ("lora_nb", "mlx_lm"))
    peaks = [report["peak"] for report in mine["reports"]]
    return (
        f"{result['case']:34} first epoch {result['in_first_epoch']:5.2f}x, "
        f"after it {result['after_first_epoch']:5.2f}x, last {result['in_last_epoch']:5.2f}x, "
        f"all {EPOCHS} {result['over_all_epochs']:5.2f}x, "
        f"{result['tokens_per_second']:,.0f} tok/s, "
        f"peak {max(mine['before_release'], *peaks):.2f} GB, after release {peaks[-1]:.2f} GB, "
        f"against {other['reports'][-1]['peak']:.2f} GB"
    )


def main() -> None:
    """Measure, print, and keep the raw figures."""
    arguments = _arguments()
    started = time.perf_counter()
    found: dict[str, Any] = {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
    path = arguments.out or RESULTS / "training-cpu.json"

    def keep() -> None:
        found["seconds"] = round(time.perf_counter() - started, 1)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as name:
        extent = Extent(arguments.rows, arguments.their_steps, arguments.their_warm_up)
        bench = Bench(Path(name), extent, arguments.models)
        found["cases"] = []
        for case in map(Case.parse, [] if arguments.case == ["none"] else arguments.case or CASES):
            found["cases"].append(bench.compared(case, arguments.repeat))
            print(_told(found["cases"][-1]), flush=True)
            keep()
        found["equal"] = []
        for case in map(Case.parse, arguments.equal or ()):
            found["equal"].append(told := bench.equal(case))
            print(
                f"{case}: losses with and without the cache differ by at most "
                f"{told['largest_in_first_epoch']:.1e} in the first epoch and "
                f"{told['largest_in_second_epoch']:.1e} in the second; {told['faster']:.1f}x",
                flush=True,
            )
            keep()
        if arguments.growth != "off":
            found["growth"] = {"model": arguments.growth}

            def tell(axis: str, points: list[dict[str, Any]]) -> None:
                found["growth"][axis] = points
                _print_growth(axis, points)
                keep()

            bench.growth(arguments.growth, tell)
    keep()
    print(f"\n{found['seconds']:.0f} seconds")


def _print_growth(axis: str, points: list[dict[str, Any]]) -> None:
    print(f"\n{axis:>8}  tok/s first epoch  later epochs  last epoch  ms a row  cache")
    for point in points:
        key = "tokens_a_row" if axis == "length" else axis
        print(
            f"{point[key]:8}  {point['first_epoch']:17,.0f}  {point['later_epochs']:12,.0f}"
            f"  {point['last_epoch']:10,.0f}  {1e3 * point['seconds_a_row']:8.2f}"
            f"  {point['cache_gb']:.2f} GB",
            flush=True,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="SHAPE:LAYERS:BATCH[:4bit]|none")
    parser.add_argument("--equal", action="append", metavar="SHAPE:LAYERS:BATCH[:4bit]")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--rows", type=int, default=0, help="rows of a case at least")
    parser.add_argument("--their-steps", type=int, default=3)
    parser.add_argument("--their-warm-up", type=int, default=1)
    parser.add_argument("--growth", default="demo", metavar="SHAPE|off")
    parser.add_argument("--models", type=Path, help="where models are made and kept")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
