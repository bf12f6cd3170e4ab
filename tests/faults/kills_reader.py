"""A live reader of a run: `python -m tests.faults.kills_reader KIND RUN TOLD DONE`.

It reads until it has seen the end of the run and the file DONE is there, and appends what it finds
to TOLD, a line for each finding.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lora_nb.runs.attach import follow
from lora_nb.runs.events import Ended
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import Tail

_NAP_SECONDS = 0.002
_LOOK_SECONDS = 0.05


class Watch:
    """Checks that numbers come without a gap, and tells of what is seen."""

    def __init__(self, told: Path) -> None:
        self._told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.lines = 0
        self.last = 0

    def take(self, seq: int) -> None:
        """One more line."""
        self.lines += 1
        if seq != self.last + 1:
            self.tell("gap", f"{self.last} is followed by {seq}")
        self.last = seq

    def tell(self, what: str, more: object = "") -> None:
        """Tell of a finding."""
        os.write(self._told, json.dumps([what, str(more)]).encode() + b"\n")


def followed(run: RunFolder, watch: Watch, is_done: Callable[[], bool]) -> None:
    """lora_nb's `follow`, begun anew after each crash, as a cell that attaches again does."""
    while True:
        watch.last = 0
        ended = ""
        for record in follow(run):
            watch.take(record.seq)
            ended = record.event.status if isinstance(record.event, Ended) else ""
        if not run.is_alive:
            watch.tell("end", f"{ended or run.status} {watch.last}")
            while not run.is_alive:
                if is_done():
                    return
                time.sleep(_NAP_SECONDS)
        time.sleep(_LOOK_SECONDS)


def tailed(run: RunFolder, watch: Watch, is_done: Callable[[], bool]) -> None:
    """lora_nb's `Tail`, one for all of the run's workers."""
    tail = Tail(run.events_path)
    _to_the_end(watch, is_done, lambda: ((r.seq, type(r.event).__name__) for r in tail.poll()))


def naive(run: RunFolder, watch: Watch, is_done: Callable[[], bool]) -> None:
    """Somebody's own reader: JSON a line, an unended one held back."""
    offset = 0

    def look() -> Iterator[tuple[int, str]]:
        nonlocal offset
        if not run.events_path.is_file():
            return
        with run.events_path.open("rb") as file:
            file.seek(offset)
            content = file.read()
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                watch.tell("held back")
                return
            offset += len(line)
            values = json.loads(line)
            yield values["seq"], values["type"]

    _to_the_end(watch, is_done, look)


def _to_the_end(
    watch: Watch, is_done: Callable[[], bool], look: Callable[[], Iterator[tuple[int, str]]]
) -> None:
    last = ""
    while True:
        done = is_done()
        try:
            for seq, kind in look():
                watch.take(seq)
                last = kind
        except ValueError as problem:
            watch.tell("parse error", problem)
            return
        if done:
            watch.tell("end", f"{last} {watch.last}")
            return
        time.sleep(_NAP_SECONDS)


KINDS = {"follow": followed, "tail": tailed, "naive": naive}


def main(kind: str, run: str, told: str, done: str) -> None:
    """Read a run to its end."""
    watch = Watch(Path(told))
    KINDS[kind](RunFolder(Path(run)), watch, Path(done).exists)
    watch.tell("lines", watch.lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
