"""Processes that read a run while it is killed, and what they have found."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lora_nb.runs.folder import RunFolder
from tests.tiny import ROOT, until

__all__ = ["ReadCounts", "Readers"]

_KINDS = ("follow", "tail", "naive")


@dataclass
class ReadCounts:
    """How much was read, and what was wrong with it."""

    readers: int = 0
    lines: int = 0
    held_back: int = 0
    crashes_seen: int = 0
    ends_seen: int = 0
    misread: list[str] = field(default_factory=list)


class Readers:
    """Processes that read a run while it is killed."""

    def __init__(self, run: RunFolder, folder: Path) -> None:
        self._run = run
        self._told = {kind: folder / f"{kind}.told" for kind in _KINDS}
        self._done = folder / "done"
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.faults.kills_reader",
                    *(kind, str(run.path), str(told), str(self._done)),
                ],
                cwd=ROOT,
            )
            for kind, told in self._told.items()
        ]

    def told(self, kind: str, what: str) -> list[str]:
        """What a reader has told of this kind."""
        path = self._told[kind]
        lines = path.read_text().splitlines() if path.is_file() else []
        return [more for found, more in map(json.loads, lines) if found == what]

    def wait_for_end(self, count: int) -> None:
        """Wait until the follower has seen so many ends."""
        until(lambda: len(self.told("follow", "end")) >= count, "a reader to see the end", 20)

    def finish(self, counts: ReadCounts) -> None:
        """Let the readers end once the run is completed, and count what they have seen."""
        last = self._run.records()[-1].seq
        wanted = f"completed {last}"
        until(lambda: self.told("follow", "end")[-1:] == [wanted], "a reader to see the end", 20)
        self._done.touch()
        for process in self._processes:
            assert process.wait(30) == 0
        for kind in _KINDS:
            counts.readers += 1
            counts.lines += sum(map(int, self.told(kind, "lines")))
            counts.held_back += len(self.told(kind, "held back"))
            wrong = self.told(kind, "gap") + self.told(kind, "parse error")
            counts.misread += [f"{self._run.name}: {kind}: {text}" for text in wrong]
            if self.told(kind, "end")[-1] != (wanted if kind == "follow" else f"Ended {last}"):
                counts.misread.append(f"{self._run.name}: {kind}: the end was not seen")
        ends = [end.split()[0] for end in self.told("follow", "end")]
        counts.crashes_seen += ends.count("crashed")
        counts.ends_seen += ends.count("completed")

    def kill(self) -> None:
        """End those that are left."""
        for process in self._processes:
            process.kill()
            process.wait()
