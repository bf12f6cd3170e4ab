"""One line that says where a run is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from lora_nb.display.listing import upload_line
from lora_nb.display.state import RunState, state_of
from lora_nb.display.words import duration, gigabytes, loss, plain, rate, size
from lora_nb.runs.events import Ended, Progress, Record, TrainLoss

__all__ = ["line_of", "progress_line", "reason_of", "silent_end"]

DOT = " · "


def progress_line(records: Iterable[Record], status: str, *, run_path: str = "") -> str:
    """Plain text of one line for a run with these records and this status.

    `run_path` lets the line of a crashed run name its log.
    """
    return line_of(state_of(records), status, run_path=run_path)


def line_of(state: RunState, status: str, *, run_path: str = "") -> str:
    """The same from a state that is already there."""
    if state.ended:
        return plain(DOT.join(_ended(state, state.ended)))
    if status == "crashed":
        return plain(DOT.join(_crashed(state, run_path)))
    if status in ("completed", "stopped", "failed", "aborted"):
        return status
    words = _training(state, state.train) if state.train else [_before(state)]
    return plain(("paused: " if "paused" in (status, state.status) else "") + DOT.join(words))


def _before(state: RunState) -> str:
    if state.progress:
        return _stage(state)
    if state.valid:
        return f"valid {loss(state.valid.loss)}{DOT}starting training…"
    if state.started is None:
        return "starting the worker…"
    if state.listed or state.started.verb == "upload":
        return "checking what is uploaded…"
    if state.model is None:
        return "loading model…"
    if state.started.verb in ("convert", "fuse"):
        told = "checked" if state.fidelity else "model written"
        return told if state.saved else "starting…"
    if state.data is None:
        return "reading data…"
    return "starting training…" if state.started.verb == "train" else "starting…"


def _stage(state: RunState) -> str:
    told = state.progress
    if told is None:
        return ""
    count = f" {_count(told)}" if told.total > 0 else ""
    return f"{told.stage}{count}…"


def _count(told: Progress) -> str:
    if told.stage == "uploading":
        return f"{size(told.done)} of {size(told.total)}"
    return f"{told.done}/{told.total}"


def _training(state: RunState, now: TrainLoss) -> list[str]:
    words = [f"step {now.step}/{now.steps}"]
    if math.isfinite(now.epoch):
        words.append(f"epoch {now.epoch:.1f}")
    words.append(f"train {loss(now.loss)}")
    words.extend(_valid(state))
    words.append(f"{rate(now.tokens_per_second)} tok/s")
    words.append(f"{rate(now.iterations_per_second)} it/s")
    if now.peak_memory > 0:
        words.append(gigabytes(now.peak_memory))
    words.append(_stage(state) if state.progress else f"{duration(now.eta)} left")
    return words


def _valid(state: RunState) -> list[str]:
    if state.valid is None:
        return []
    if state.best is None:
        return [f"valid {loss(state.valid.loss)}"]
    if state.best.step == state.valid.step:
        return [f"valid {loss(state.valid.loss)} (best)"]
    best = f"best {loss(state.best.loss)} at {state.best.step}"
    return [f"valid {loss(state.valid.loss)} ({best})"]


def _ended(state: RunState, end: Ended) -> list[str]:
    words = [_headline(end, end.step or state.step)]
    if state.train:
        words.append(f"train {loss(state.train.loss)}")
    words.extend(_valid(state))
    if state.test:
        words.append(f"test {loss(state.test.loss)} (perplexity {loss(state.test.perplexity)})")
    if state.saved:
        words.append(f"{state.saved.bits:.2f} bits per weight")
        words.append(f"{size(state.saved.size)} in {state.saved.path}")
    if state.gguf:
        words.append(f"{size(state.gguf.size)} in {state.gguf.path}")
        words.extend(state.gguf.commands.splitlines())
    if state.uploaded:
        words.append(upload_line(state.uploaded))
    elif state.listed and state.listed.dry_run:
        words.append("nothing was sent (dry run)")
    if end.adapter_path:
        words.append(f"adapter in {end.adapter_path}")
    return words


def _headline(end: Ended, step: int) -> str:
    steps = f"{step} {'step' if step == 1 else 'steps'}" if step else ""
    if end.status == "completed":
        why = f" (stopped early: {end.early})" if end.early else ""
        return f"completed{f': {steps}' if steps else ''} in {duration(end.seconds)}{why}"
    where = f" at step {step}" if step else ""
    after = f" after {duration(end.seconds)}" if end.seconds > 0 else ""
    reason = reason_of(end)
    return f"{end.status}{where}{after}{': ' if reason else ''}{reason}"


def reason_of(end: Ended) -> str:
    """Why a run ended before its time, or empty. With an adapter, the message only sums it up."""
    if end.refused:
        return end.refused.rstrip(".")
    if end.early:
        return f"stopped early: {end.early}"
    if end.status == "completed" or (end.status == "stopped" and end.adapter_path):
        return ""
    return end.message.rstrip(".")


def silent_end(log: str) -> str:
    """What is said of a worker that told no end, with the place of its log.

    In few words, of nothing but the events: `runs.death` looks for the reason.
    """
    return f"the worker ended without a word; see {log}"


def _crashed(state: RunState, run_path: str) -> list[str]:
    where = f" at step {state.train.step}/{state.train.steps}" if state.train else ""
    log = str(Path(run_path) / "worker.log") if run_path else "worker.log in the run's folder"
    words = [f"crashed{where}: {silent_end(log)}"]
    if state.train:
        words.append(f"train {loss(state.train.loss)}")
    if state.checkpoints:
        words.append(f"last checkpoint at step {state.checkpoints[-1].step}")
    return words
