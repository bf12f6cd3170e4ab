"""What a run's events say together: the state that pictures, lines and tables are drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    DataReady,
    Ended,
    Event,
    ModelReady,
    Notice,
    Progress,
    Record,
    Resumed,
    Resuming,
    Started,
    TestLoss,
    TrainLoss,
    ValidLoss,
)
from lora_nb.runs.export_events import Fidelity, GgufSaved, ModelSaved, Uploaded, UploadListed
from lora_nb.runs.standing import voids

__all__ = ["RunState", "state_of"]


@dataclass
class RunState:
    """A run up to its last event. Losses are by step; a later report replaces an earlier one."""

    started: Started | None = None
    model: ModelReady | None = None
    data: DataReady | None = None
    progress: Progress | None = None
    train: TrainLoss | None = None
    valid: ValidLoss | None = None
    test: TestLoss | None = None
    saved: ModelSaved | None = None
    fidelity: Fidelity | None = None
    gguf: GgufSaved | None = None
    listed: UploadListed | None = None
    uploaded: Uploaded | None = None
    ended: Ended | None = None
    paused: bool = False
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    train_losses: dict[int, float] = field(default_factory=dict)
    valids: dict[int, ValidLoss] = field(default_factory=dict)

    @property
    def valid_losses(self) -> dict[int, float]:
        """Validation losses by step."""
        return {step: event.loss for step, event in self.valids.items()}

    @property
    def best(self) -> ValidLoss | None:
        """The validation of the lowest loss, the first one of several."""
        finite = [event for event in self.valids.values() if math.isfinite(event.loss)]
        return min(finite, key=lambda event: event.loss, default=None)

    @property
    def planned(self) -> int:
        """Steps the run was meant to take; 0 while unknown."""
        return self.train.steps if self.train else 0

    @property
    def status(self) -> str:
        """running, paused or how it ended, by the events alone: a crash leaves none."""
        if self.ended:
            return self.ended.status
        return "paused" if self.paused else "running"

    @property
    def step(self) -> int:
        """The last step anything was told about."""
        steps = (told.step for told in (self.train, self.valid, self.ended) if told)
        return max(steps, default=0)

    @property
    def has_curve(self) -> bool:
        """Whether there is any loss to draw over the steps."""
        return bool(self.train_losses or self.valid_losses)

    def feed(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, Notice):
            self._notice(event)
            return
        if isinstance(event, Progress):
            self.progress = event
            return
        if isinstance(event, CheckpointSaved):
            self.checkpoints.append(event)
            return
        if isinstance(event, ControlAnswered):
            self._answered(event)
            return
        if isinstance(event, Resuming | Resumed):
            self._resume(event)
            return
        if self._stage(event) or self._loss(event):
            self.progress = None

    def _notice(self, event: Notice) -> None:
        if event.level == "warning" and event.message not in self.warnings:
            self.warnings.append(event.message)

    def _answered(self, event: ControlAnswered) -> None:
        if (event.request, event.answer) in (("pause", "paused"), ("resume", "resumed")):
            self.paused = event.answer == "paused"

    def _resume(self, event: Resuming | Resumed) -> None:
        self.ended = None
        if isinstance(event, Resuming):
            return
        # Plain numbers, as a picture is drawn of them again and again.
        last = event.reported
        self.train_losses = {at: loss for at, loss in self.train_losses.items() if at <= last}
        self.valids = {at: told for at, told in self.valids.items() if not voids(event, told)}
        self.checkpoints = [saved for saved in self.checkpoints if not voids(event, saved)]
        if self.train and voids(event, self.train):
            self.train = None
        if self.valid and voids(event, self.valid):
            self.valid = None

    def _stage(self, event: Event) -> bool:
        match event:
            case Started():
                self.started = event
                self.ended = None
                self.paused = False
            case ModelReady():
                self.model = event
            case DataReady():
                self.data = event
            case ModelSaved():
                self.saved = event
            case GgufSaved():
                self.gguf = event
            case Fidelity():
                self.fidelity = event
            case UploadListed():
                self.listed = event
            case Uploaded():
                self.uploaded = event
            case Ended():
                self.ended = event
            case _:
                return False
        return True

    def _loss(self, event: Event) -> bool:
        match event:
            case TrainLoss():
                self.train = event
                self.train_losses[event.step] = event.loss
            case ValidLoss():
                self._valid(event)
            case TestLoss():
                self.test = event
            case _:
                return False
        return True

    def _valid(self, event: ValidLoss) -> None:
        self.valid = event
        self.valids[event.step] = event


def state_of(records: Iterable[Record]) -> RunState:
    """The state after all of `records`."""
    state = RunState()
    for record in records:
        state.feed(record.event)
    return state
