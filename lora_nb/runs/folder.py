"""A run is a folder: what is in it, and what that says about the run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from lora_nb.config import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    FitConfig,
    FuseConfig,
    SweepConfig,
    TestConfig,
    TrainConfig,
    UploadConfig,
    load,
)
from lora_nb.errors import LoraError
from lora_nb.runs import lock, log
from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    Ended,
    Record,
    Resuming,
    Started,
    Status,
)

__all__ = [
    "KINDS",
    "NEXT_WORKER",
    "Checkpoint",
    "RunConfig",
    "RunFolder",
    "RunStatus",
    "Verb",
]

RunConfig = (
    TrainConfig
    | SweepConfig
    | FitConfig
    | TestConfig
    | DataConfig
    | ConvertConfig
    | FuseConfig
    | CompareConfig
    | UploadConfig
)
Verb = Literal["train", "sweep", "fit", "test", "data", "convert", "fuse", "compare", "upload"]
NEXT_WORKER = "lora_nb: the run goes on in a new worker\n"
"""The line that parts what two workers of a run have printed."""
RunStatus = Literal["starting", "running", "paused", "crashed"] | Status

KINDS: dict[str, type[RunConfig]] = {
    # Before train, whose options they have.
    "fit": FitConfig,
    "sweep": SweepConfig,
    "train": TrainConfig,
    "test": TestConfig,
    "data": DataConfig,
    "convert": ConvertConfig,
    "fuse": FuseConfig,
    "compare": CompareConfig,
    "upload": UploadConfig,
}


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk; `best` if its validation loss was the lowest so far."""

    step: int
    path: Path
    best: bool


@dataclass(frozen=True)
class RunFolder:
    """A view of one run folder. It reads the files anew at each question."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The complete config, accepted back by `-c`."""
        return self.path / "config.yaml"

    @property
    def earlier_config_path(self) -> Path:
        """The config before the run was resumed for the last time."""
        return self.path / "config.before.yaml"

    @property
    def events_path(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def lock_path(self) -> Path:
        """The lock that the worker holds for life."""
        return self.path / "lock"

    @property
    def log_path(self) -> Path:
        """What the worker printed."""
        return self.path / "worker.log"

    @property
    def exit_path(self) -> Path:
        """The exit status of the worker, if its launcher has seen it."""
        return self.path / "exit"

    @property
    def reserve_path(self) -> Path:
        """Room that a living worker keeps for telling its end on a full disk."""
        return self.path / "reserve"

    @property
    def control_path(self) -> Path:
        """Requests to the worker."""
        return self.path / "control"

    @property
    def checkpoints_path(self) -> Path:
        """The checkpoints, one folder a step."""
        return self.path / "checkpoints"

    @property
    def report_path(self) -> Path:
        """What a look through data, or a fit check, has found."""
        return self.path / "report.json"

    @property
    def fidelity_path(self) -> Path:
        """How a fused model compares with its base and adapter, row by row."""
        return self.path / "fidelity.json"

    @property
    def comparison_path(self) -> Path:
        """What each of several models has answered."""
        return self.path / "comparison.json"

    @property
    def sweep_path(self) -> Path:
        """Which runs are the trials of a sweep."""
        return self.path / "sweep.json"

    @property
    def notes_path(self) -> Path:
        """What somebody has noted about the run, and its tags."""
        return self.path / "notes.json"

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`: the verb, when and where the run was started."""
        try:
            about = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            about = None
        if not isinstance(about, dict) or about.get("verb") not in KINDS:
            raise LoraError(f"{self.path}: no run of lora_nb (run.json is missing or damaged).")
        return about

    @property
    def verb(self) -> Verb:
        """What the run does."""
        verb: Verb = self.about["verb"]
        return verb

    @property
    def config(self) -> RunConfig:
        """The recorded config; that of a resumed run is its newest."""
        return _config_of(self.verb, self.config_path, _changed(self.config_path))

    def config_items(self) -> dict[str, str]:
        """The recorded options in words, those without a value left out."""
        pairs = ((f.name, getattr(self.config, f.name)) for f in dataclasses.fields(self.config))
        return {name: str(value) for name, value in pairs if value is not None}

    def records(self) -> list[Record]:
        """Every complete event so far. Raises LoraError if they can't be read."""
        try:
            return log.read(self.events_path)
        except OSError as problem:
            raise LoraError(f"{self.events_path} can't be read: {problem.strerror}.") from None

    @property
    def ended(self) -> Ended | None:
        """The last event of a run that has told its end, else None."""
        records = self.records()
        last = records[-1].event if records else None
        return last if isinstance(last, Ended) else None

    @property
    def is_alive(self) -> bool:
        """Whether a worker lives."""
        return lock.is_held(self.lock_path)

    @property
    def status(self) -> RunStatus:
        """starting, running, paused, completed, stopped, failed, aborted or crashed."""
        # The lock first: a worker that ends between the two looks has written its last event.
        alive = self.is_alive
        status: RunStatus = "running" if alive else "crashed"
        if alive and not self.events_path.exists():
            return "starting"
        for record in reversed(self.records()):
            match record.event:
                case Ended(status=ended):
                    return ended
                case ControlAnswered(request="pause", answer="paused") if alive:
                    return "paused"
                case Resuming() if alive:
                    return "starting"
                case ControlAnswered(request="resume", answer="resumed") | Started() | Resuming():
                    return status
        return status

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that are there, oldest first."""
        # A resumed run may have saved a step twice; the later one is what is there.
        saved = {
            r.event.step: r.event for r in self.records() if isinstance(r.event, CheckpointSaved)
        }
        return [
            Checkpoint(step, self.path / event.path, event.best)
            for step, event in sorted(saved.items())
            if (self.path / event.path).is_dir()
        ]

    @property
    def adapter_path(self) -> Path | None:
        """The newest trained adapter of the run, or None before the first checkpoint."""
        checkpoints = self.checkpoints
        return checkpoints[-1].path if checkpoints else None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the worker printed, none of those of a worker before it."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        text = text.rpartition(NEXT_WORKER)[2]
        return "\n".join(text.splitlines()[-lines:])


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=512)
def _config_of(verb: Verb, path: Path, _changed: int) -> RunConfig:
    """The config in a file, read anew when that has changed."""
    # The type variable of `load` stands for one of the kinds, not for their union.
    kind: Any = KINDS[verb]
    config: RunConfig = load(kind, file=path)
    return config
