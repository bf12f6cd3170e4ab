"""Why a worker that has told no end is gone, and what can be done about it."""

from __future__ import annotations

import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from lora_nb.runs.events import Resuming, Started
from lora_nb.runs.folder import RunFolder

__all__ = ["MEMORY_ADVICE", "MEMORY_WORDS", "explain", "note_exit", "oom_kills"]

_LESS = (
    "Try a smaller batch_size, fewer num_layers, grad_checkpoint, a smaller max_seq_length, or a "
    "quantised model"
)
MEMORY_ADVICE = f"{_LESS}; %lora_fit tells what fits."
MEMORY_WORDS = re.compile(
    r"out of memory|out-of-memory|insufficient memory|bad_alloc|cannot allocate|"
    r"OutOfMemory|MemoryAllocation|unable to allocate|metal::malloc",
    re.IGNORECASE,
)
"""How MLX, Metal, CUDA, C++ and the system say that memory ran out."""
_LOG_LINES = 40
_FRESH_SECONDS = 5.0
_WAIT_SECONDS = 0.5


def explain(run: RunFolder) -> str:
    """What is known of the end of a crashed run, in sentences."""
    why, memory = _cause(run)
    parts = [f"The worker of {run.name} {why}"]
    if memory and run.verb != "data":
        parts.append(f"{_LESS}." if run.verb == "fit" else MEMORY_ADVICE)
    if run.verb == "train" and run.checkpoints:
        step = run.checkpoints[-1].step
        parts.append(f"`%lora_train --resume {run.name}` goes on from step {step}.")
    if run.verb == "sweep":
        parts.append(f"`%lora_sweep --resume {run.name}` goes on with it.")
    return " ".join(parts)


def _cause(run: RunFolder) -> tuple[str, bool]:
    """Why it ended, and whether it may have been for want of memory."""
    said = next(
        (line for line in run.log_tail(_LOG_LINES).splitlines() if MEMORY_WORDS.search(line)), ""
    )
    if said:
        return f"ran out of memory: {said.strip()[:200].rstrip('.')}.", True
    code = _exit_of(run)
    before, now = _kills_before(run), oom_kills()
    # The count is of all processes of the group; the system ends one by SIGKILL.
    if code in (None, -signal.SIGKILL) and before is not None and (now or 0) > before:
        return "was ended by the system, which had no memory left.", True
    if code == -signal.SIGKILL:
        return "was killed. The system does so when memory runs out, if nobody else has.", True
    if code is not None and code < 0:
        return _by_signal(-code)
    return "is gone without a word (killed, or out of memory).", True


def _by_signal(number: int) -> tuple[str, bool]:
    """What is said of a worker that a signal has ended, and whether it may be for memory."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return f"was ended by {name}, from outside.", False
    said = f"ended with {name}, by an error in the GPU's driver or a library"
    if number == signal.SIGABRT:
        # Metal and CUDA abort where an allocation fails, not always with a word of it.
        return f"{said}, most often for want of memory.", True
    return f"{said}.", False


def _kills_before(run: RunFolder) -> int | None:
    """How many processes had been ended when the newest worker began; None unknown."""
    for record in reversed(run.records()):
        match record.event:
            case Started(oom_kills=count):
                return count
            case Resuming():
                return None
    return None


def note_exit(run: RunFolder, code: int) -> None:
    """Keep the exit status of a worker, negative for a signal."""
    with suppress(OSError):
        run.exit_path.write_text(str(code), encoding="utf-8")


def _exit_of(run: RunFolder) -> int | None:
    """The exit status that the launching process has kept, if it still lived then."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return int(run.exit_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if not _is_fresh(run) or time.monotonic() > deadline:
                return None
        time.sleep(0.02)


def _is_fresh(run: RunFolder) -> bool:
    """Whether the worker has only just ended, so that its status may be on its way."""
    try:
        return time.time() - run.events_path.stat().st_mtime < _FRESH_SECONDS
    except OSError:
        return False


def oom_kills() -> int | None:
    """How many processes of this one's control group were ended for want of memory; None unknown.

    Linux with control groups of version 2; see the kernel's documentation of `memory.events`.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next(line[3:] for line in lines if line.startswith("0::"))
        events = Path("/sys/fs/cgroup") / group.lstrip("/") / "memory.events"
        counts = dict(line.split() for line in events.read_text(encoding="utf-8").splitlines())
        return int(counts["oom_kill"])
    except (OSError, StopIteration, ValueError, KeyError):
        return None
