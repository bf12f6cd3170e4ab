"""Killing a program that saves checkpoints, and looking at what it leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil
from safetensors.numpy import load_file

from lora_nb.core.checkpoint import settle
from lora_nb.core.durable import sha256_of
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.faults.kills_saver import Session
from tests.tiny import ROOT, until

__all__ = ["SaveCounts", "Saver", "torn"]

# About as long as a save of the program takes on a slow machine.
_SAVE_SECONDS = 0.02
# And removing a folder of it.
_SHORT_SECONDS = 0.0003
_WEIGHT = "layers.0.weight"


@dataclass
class SaveCounts:
    """What was killed, where the kills hit, and what was found afterwards."""

    kills: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unloadable: list[str] = field(default_factory=list)
    adapters: int = 0


class Saver:
    """The program, its folders, and one session after another."""

    def __init__(self, folder: Path, seed: int, counts: SaveCounts) -> None:
        self._checkpoints = folder / "checkpoints"
        self._published = folder / "published"
        self._told = folder / "told"
        self._random = random.Random(seed)
        self._counts = counts
        self._session: Session | None = None

    def __enter__(self) -> Self:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.kills_saver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._program.kill()
        self._program.wait()

    def kill_once(self) -> None:
        """Let a session save for a while, kill it within a save, and look at what is left."""
        before, self._session = self._session, self._next_session()
        assert self._program.stdin
        assert self._program.stdout
        self._told.unlink(missing_ok=True)
        self._program.stdin.write(self._session.as_line())
        self._program.stdin.flush()
        pid = int(self._program.stdout.readline())
        aim, longest = self._aim(self._session)
        self._wait_for(aim, self._random.randint(1, 4))
        time.sleep(self._random.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(pid), "a killed saver to be gone", 10)
        self._counts.kills += 1
        self._counts.hits.update(self._places())
        self._look(other_adapter=before is not None and before.run != self._session.run)

    def _next_session(self) -> Session:
        """Sometimes the same writer goes on, sometimes another run takes the place."""
        choose = self._random
        before = self._session
        if before is not None and choose.random() < 0.7:
            return before
        number = 1 if before is None else int(before.run.partition("-")[2]) + 1
        folder = self._checkpoints.with_name(f"checkpoints-{number}")
        self._checkpoints = folder
        return Session(
            checkpoints=str(folder),
            published=str(self._published),
            told=str(self._told),
            run=f"run-{number}",
            rank=choose.choice([2, 4, 8, 16]),
            keep=choose.choice([None, 1, 2]),
            only_best=choose.random() < 0.3,
            twice=choose.random() < 0.5,
            carries=choose.random() < 0.5,
        )

    def _aim(self, session: Session) -> tuple[str, float]:
        """What to wait for, and how long after it to kill at most."""
        drawn = self._random.random()
        if session.twice and drawn < 0.2:
            return ".old", _SHORT_SECONDS
        if session.keep and drawn > 0.8:
            return ".gone", _SHORT_SECONDS
        return ".part", _SAVE_SECONDS

    def _wait_for(self, aim: str, count: int) -> None:
        """Wait until folders of so many steps were there under this name."""
        seen: set[str] = set()
        deadline = time.monotonic() + 30
        # A save takes milliseconds, so there is no time for a nap.
        while len(seen) < count:
            assert time.monotonic() < deadline, f"the saver never has a {aim}"
            seen.update(name for name in _hidden(self._checkpoints) if name.endswith(aim))

    def _places(self) -> set[str]:
        """Where the kill has hit, by what was left in the midst."""
        kinds = {".part": "writing", ".old": "replacing", ".gone": "removing"}
        places = {kinds[name[8:]] for name in _hidden(self._checkpoints)}
        left = _hidden(self._published)
        for name in left:
            (self._published / name).unlink()
        return places | ({"publishing"} if left else set()) or {"between"}

    def _look(self, *, other_adapter: bool) -> None:
        counts, session = self._counts, self._session
        assert session is not None
        where = f"kill {counts.kills}"
        found = [path for path in self._checkpoints.glob("*") if path.name.isdecimal()]
        counts.torn += [f"{where}: {path.name}: {why}" for path in found if (why := torn(path))]
        text = self._told.read_text() if self._told.is_file() else ""
        step = int(text[:7]) if text else 0
        # This is what a resumed worker does first.
        settle(self._checkpoints)
        newest = max((int(path.name) for path in self._checkpoints.glob("[0-9]*")), default=0)
        if newest < step:
            counts.lost.append(f"{where}: step {step} was saved, {newest} is the newest")
        due = text and (not session.only_best or int(text[8:]) > 0)
        self._look_at_adapter(where, must_be_there=bool(due) and not other_adapter)

    def _look_at_adapter(self, where: str, *, must_be_there: bool) -> None:
        weights, config = self._published / ADAPTER_WEIGHTS, self._published / ADAPTER_CONFIG
        if not weights.is_file() and not must_be_there:
            return
        try:
            arrays = load_file(weights)
            rank = json.loads(config.read_text())["lora_parameters"]["rank"]
        except Exception as problem:  # noqa: BLE001 (whatever it is, that's the finding)
            self._counts.unloadable.append(f"{where}: {problem!r}")
            return
        values = {float(value) for array in arrays.values() for value in np.unique(array)}
        if arrays[_WEIGHT].shape[0] != rank or len(values) != 1:
            self._counts.unloadable.append(
                f"{where}: rank {rank}, {arrays[_WEIGHT].shape}, {values}"
            )
        self._counts.adapters += 1


def _hidden(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.name.startswith(".")]
    except FileNotFoundError:
        return []


def torn(checkpoint: Path) -> str | None:
    """What is wrong with a committed checkpoint, or None."""
    try:
        hashes: dict[str, str] = json.loads((checkpoint / "manifest.json").read_text())["sha256"]
        step = json.loads((checkpoint / "state.json").read_text())["step"]
        for name, wanted in hashes.items():
            if sha256_of(checkpoint / name) != wanted:
                return f"{name} is not what was saved"
    except (OSError, ValueError, KeyError) as problem:
        return repr(problem)
    extra = {path.name for path in checkpoint.iterdir()} - {*hashes, "manifest.json"}
    if extra or not {ADAPTER_WEIGHTS, "optimizer.safetensors", "state.json"} <= set(hashes):
        return f"its files are {sorted(hashes)} and {sorted(extra)}"
    return None if step == int(checkpoint.name) else f"it says step {step}"
