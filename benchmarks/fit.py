"""What a fit check predicts against what the training then takes: `python -m benchmarks.fit`.

For each model the check is made once; then its training is run as configured, and with some of
the changes that the check reckoned but did not try. Printed are peaks (GB, as MLX counts them) and
times (seconds of the steps), predicted and real. Exits with 1 if a peak is off by more than 15 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import machine, ours
from benchmarks.training import RESULTS, Bench, Extent
from lora_nb.config import FitConfig
from lora_nb.fitting.look import try_fit
from lora_nb.runs.fit_result import Candidate

ALLOWED = 0.15
CASES: dict[str, dict[str, Any]] = {
    "demo, 4 layers": {"model": "demo", "num_layers": 4, "batch_size": 8, "epochs": 3},
    "demo, all layers": {"model": "demo", "num_layers": -1, "batch_size": 8, "epochs": 2},
    "demo, no cache": {"model": "demo", "num_layers": 2, "batch_size": 4, "trunk_cache": "off"},
    "100m, 4 layers": {"model": "100m", "num_layers": 4, "batch_size": 4, "epochs": 2},
    "100m, all layers": {"model": "100m", "num_layers": -1, "batch_size": 4, "epochs": 1},
}
# For a GPU: --large.
LARGE_CASES: dict[str, dict[str, Any]] = {
    "mistral-7b, 4 layers": {"model": "mistral-7b", "num_layers": 4, "batch_size": 16},
    "mistral-7b, 16 layers": {"model": "mistral-7b", "num_layers": 16, "batch_size": 32},
}
LARGE_ROWS = 128


def main() -> int:
    """Compare, print, keep the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", choices=[*CASES, *LARGE_CASES])
    parser.add_argument("--large", action="store_true", help="the cases meant for a GPU")
    parser.add_argument("--changes", type=int, default=9, help="how many of a case are trained")
    parser.add_argument("--models", type=Path, help="where models are made and kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "fit-cpu.json")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), Extent(0, 1, 0), arguments.models)
        for case in arguments.case or (LARGE_CASES if arguments.large else CASES):
            found += compared(bench, case, arguments.changes)
            kept = {"machine": machine(), "fits": found}
            arguments.out.parent.mkdir(exist_ok=True)
            arguments.out.write_text(json.dumps(kept, indent=1) + "\n")
    return int(any(abs(each["peak_off"]) > ALLOWED for each in found))


def compared(bench: Bench, case: str, changes: int) -> list[dict[str, Any]]:
    """Check, then train as configured and with a few changes."""
    options = dict((CASES | LARGE_CASES)[case])
    model = bench.model(options.pop("model"))
    count = LARGE_ROWS if case in LARGE_CASES else 16 if model != "demo" else 80
    options.setdefault("epochs", 2)
    config = bench.config(model, count, steps_per_report=10**6, **options)
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    report = try_fit(FitConfig(**values))
    told = []
    for candidate in _some(report.result.candidates)[:changes]:
        run = ours(dataclasses.replace(config, **candidate.values), bench.folder)
        seconds = run.reports[-1].seconds
        off = candidate.peak / 1e9 / run.peak - 1
        told.append(
            {
                "case": case,
                "change": candidate.change,
                "measured": candidate.measured,
                "peak": candidate.peak / 1e9,
                "real_peak": run.peak,
                "peak_off": off,
                "seconds": candidate.seconds,
                "real_seconds": seconds,
            }
        )
        print(
            f"{case:18} {candidate.change:62} peak {candidate.peak / 1e9:.3f} of {run.peak:.3f} GB "
            f"({100 * off:+.0f} %), {candidate.seconds:.0f} of {seconds:.0f} s",
            flush=True,
        )
    return told


def _some(candidates: list[Candidate]) -> list[Candidate]:
    """As configured, recomputed, a smaller batch, fewer blocks."""
    wanted = ["", "recomputed activations", "batches of 2", "recomputed activations, batches of 1"]
    chosen = candidates[:1]
    for start in wanted[1:]:
        chosen += [each for each in candidates if each.change.startswith(start)][:1]
    chosen += [each for each in candidates if "trained block" in each.change][:1]
    return list({each.change: each for each in chosen}.values())


if __name__ == "__main__":
    sys.exit(main())
