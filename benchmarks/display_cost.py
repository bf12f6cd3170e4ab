"""What a notebook's kernel pays for watching a run: CPU time of the watching process alone.

    python -m benchmarks.display_cost [--seconds 120] [--out benchmarks/results/display-cpu.json]

The demo model is trained in a worker, as always, with as many steps as fill the time. This
process follows the run and draws it as a cell does; in the place of the kernel's socket, each
picture is turned into the JSON of its message and dropped. What counts is the CPU time of this
process, whose waiting costs nothing, so other work on the machine does not show much. The first
frame imports matplotlib, which is told apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.side_by_side import machine
from lora_nb.config import TrainConfig, load
from lora_nb.display import LiveView
from lora_nb.display.screen import Frame, PictureScreen
from lora_nb.runs import attach, control, launch
from lora_nb.runs.events import TrainLoss
from lora_nb.runs.folder import RunFolder

OUT = Path(__file__).parent / "results" / "display-cpu.json"
# A run that turns out slower than its first steps is stopped after this many times its seconds.
_PATIENCE = 1.25
_FIRST_STEPS = 60


class _Nowhere:
    """A display handle that does what a kernel does up to the socket."""

    def display(self, obj: object, *, raw: bool, metadata: object) -> None:
        """Take the first picture."""
        content = {"data": obj, "metadata": metadata, "transient": {"display_id": "0"}}
        json.dumps(content).encode()

    update = display


@dataclass
class _Counted:
    """A screen that counts what its frames cost, in CPU seconds, and when they came."""

    screen: PictureScreen
    cost: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    @property
    def interval(self) -> float:
        return self.screen.interval

    def draw(self, frame: Frame) -> None:
        """Draw and count."""
        self.at.append(time.perf_counter())
        began = time.thread_time()
        self.screen.draw(frame)
        self.cost.append(time.thread_time() - began)

    def warn(self, message: str) -> None:
        """Leave warnings out."""


def watched(run: RunFolder, longest: float) -> dict[str, object]:
    """Watch a run to its end; what that has cost. It is stopped after `longest` seconds."""
    screen = PictureScreen(run.name)
    screen._handle = _Nowhere()  # noqa: SLF001 (no notebook here)
    counted = _Counted(screen)
    started, busy = time.perf_counter(), time.process_time()
    view = LiveView(str(run.path), screen=counted)
    view.tick()
    asked = False

    def idle() -> None:
        nonlocal asked
        view.tick()
        if not asked and time.perf_counter() > started + longest:
            asked = True
            control.send(run, "stop")

    events = 0
    for record in attach.follow(run, idle=idle):
        events += 1
        view.feed(record)
    view.close(run.status)
    busy, seconds = time.process_time() - busy, time.perf_counter() - started
    return _figures(counted, seconds, busy) | {"events": events, "status": run.status}


def _figures(counted: _Counted, seconds: float, busy: float) -> dict[str, object]:
    first, *between, last = counted.cost
    gaps = [later - at for at, later in zip(counted.at, counted.at[1:], strict=False)]
    return {
        "seconds": seconds,
        "cpu_seconds": busy,
        "frames": len(counted.cost),
        "first_frame_ms": 1e3 * first,
        "live_frame_ms": {
            "mean": 1e3 * statistics.mean(between),
            "median": 1e3 * statistics.median(between),
            "most": 1e3 * max(between),
        },
        "last_frame_ms": 1e3 * last,
        "frames_over_20_ms": sum(cost > 0.02 for cost in between),
        "seconds_between_frames": {
            "first_10_s": _mean([gap for gap, at in _placed(counted, gaps) if at < 10]),
            "later": _mean([gap for gap, at in _placed(counted, gaps) if at >= 10]),
        },
        "drawing_share": sum(counted.cost[1:]) / seconds,
        "following_share": (busy - sum(counted.cost)) / seconds,
        "share": (busy - first) / seconds,
        "share_with_import": busy / seconds,
    }


def _placed(counted: _Counted, gaps: list[float]) -> list[tuple[float, float]]:
    return [(gap, at - counted.at[0]) for gap, at in zip(gaps, counted.at, strict=False)]


def _mean(values: list[float]) -> float:
    return statistics.mean(values) if values else 0.0


def _rate(config: TrainConfig, base: Path) -> float:
    """Steps per second of the demo model here, the time to its first step left out."""
    run = launch.start(config, base)
    told = [r.event for r in attach.follow(run) if isinstance(r.event, TrainLoss)]
    return (told[-1].step - told[1].step) / (told[-1].elapsed - told[1].elapsed)


def _config(folder: Path, steps: int) -> TrainConfig:
    flags = {
        "model": "demo",
        "data": "demo",
        "iters": steps,
        "steps_per_report": 1,
        "steps_per_eval": max(50, steps // 12),
        "save_every": max(50, steps // 6),
        "adapter_path": str(folder / "adapters"),
    }
    return load(TrainConfig, flags=flags)


def main() -> None:
    """Measure, print, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate = _rate(_config(folder / "rate", _FIRST_STEPS), folder)
        steps = max(50, int(rate * arguments.seconds))
        run = launch.start(_config(folder / "run", steps), folder)
        measured = watched(run, _PATIENCE * arguments.seconds)
    result = {
        "machine": machine(),
        "note": "other work loads the machine; what counts is this process's CPU time",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "steps": steps,
        **measured,
    }
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
