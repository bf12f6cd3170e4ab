"""Open, page and search a JSONL file of a million rows: `python benchmarks/data_size.py`.

Prints what each takes, the best of three, and exits with 1 if a limit is missed. The file (some
140 MB) lies in a temporary folder and is removed.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from lora_nb.api import data_report
from lora_nb.dataset.report import DataReport

Result = TypeVar("Result")

ROWS = 1_000_000
TRIES = 3
CITIES = ["Mumbai", "Lima", "Oslo", "Zürich", "Quito", "Accra"]


def main() -> int:
    """Make the file, time everything, print the table; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.jsonl"), Path(folder, "large.jsonl")
        write(small, 100)
        write(large, ROWS)
        print(f"{ROWS:,} rows, {large.stat().st_size / 1e6:.0f} MB")
        # What is imported on first use is no cost of size.
        shown(data_report(small))
        before = peak()
        seconds, report = timed(lambda: data_report(large))
        held = peak() - before
        figures = [
            ("open", seconds, 1.0),
            ("show", timed(lambda: shown(data_report(large)))[0], 2.0),
            ("page in the middle", timed(lambda: report.page(ROWS // 2, 50))[0], 0.3),
            ("last page", timed(lambda: report.page(ROWS - 50, 50))[0], 0.3),
        ]
        for name, text, hits in (
            ("search, a hit in the last row", f"park {ROWS - 1} ", 1),
            ("search, many hits", "VISITORS", 20),
            ("search, a miss", "nowhere to be found", 0),
            ("search, a miss with umlaut", "über nirgends", 0),
        ):
            took, found = timed(partial(report.search, text))
            assert len(found) == hits, (name, len(found))
            figures.append((name, took, 2.0))
        assert report.page(ROWS - 1, 1)["row"].tolist() == [ROWS - 1]
        missed = [name for name, took, limit in figures if took > limit]
        for name, took, limit in figures:
            print(f"  {name:<30} {took:6.3f} s   (limit {limit:g} s)")
        print(f"  {'memory above the baseline':<30} {held:6.0f} MB  (limit 200 MB)")
        if held > 200:
            missed.append("memory")
    print(f"missed: {', '.join(missed)}" if missed else "all within their limits")
    return 1 if missed else 0


def write(path: Path, rows: int) -> None:
    """Rows of about 140 bytes."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            city = CITIES[number % len(CITIES)]
            row = {
                "prompt": f"How many visitors came to park {number} in {city} last year?",
                "completion": f"Counted at the gates: {number * 7} visitors in the year.",
            }
            file.write(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """The best time of a few tries, in seconds, and the last result."""
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return best, result


def shown(report: DataReport) -> int:
    """Make all that a notebook shows of a report; returns its size."""
    return len(str(report)) + len(report.html())


def peak() -> float:
    """The most memory this process has held, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    sys.exit(main())
