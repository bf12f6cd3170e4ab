"""What a worker tells: typed events, of which `event_lines` makes lines and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lora_nb.runs.export_events import Fidelity, GgufSaved, ModelSaved, Uploaded, UploadListed

__all__ = [
    "CheckpointSaved",
    "ControlAnswered",
    "DataReady",
    "Ended",
    "Event",
    "LearningRateSet",
    "ModelReady",
    "Notice",
    "Progress",
    "Record",
    "Resumed",
    "Resuming",
    "Sample",
    "Started",
    "Status",
    "TestLoss",
    "TrainLoss",
    "ValidLoss",
]

Status = Literal["completed", "stopped", "failed", "aborted"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """The worker is up: where and with what it runs.

    `oom_kills` is how many processes of its control group had been ended for want of memory.
    """

    verb: str
    pid: int
    backend: str
    blas: str
    versions: dict[str, str] = field(default_factory=dict)
    oom_kills: int | None = None


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something a person should know; the run goes on."""

    level: Literal["info", "warning"]
    message: str


@dataclass(frozen=True, kw_only=True)
class ModelReady:
    """The model is loaded and, for training, carries its adapter. Counts are parameters."""

    model: str
    family: str
    parameters: int
    trainable: int
    bits: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DataReady:
    """The rows are read and turned into tokens. Counts per split; trained tokens carry loss."""

    rows: dict[str, int]
    tokens: dict[str, int]
    trained_tokens: dict[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a stage is that has no losses of its own."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class TrainLoss:
    """Training loss over the steps since the last report.

    `loss` is the mean over trained tokens in nats, rates are per second of training time,
    `peak_memory` is in GB (1e9 bytes), `eta` and `elapsed` in seconds.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_second: float
    iterations_per_second: float
    trained_tokens: int
    peak_memory: float
    grad_norm: float
    elapsed: float
    eta: float


@dataclass(frozen=True, kw_only=True)
class ValidLoss:
    """Validation loss before the step after `step`; `best` if no earlier one was lower."""

    step: int
    loss: float
    perplexity: float
    tokens: int
    seconds: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class TestLoss:
    """Loss (nats per trained token) and perplexity on the test rows."""

    loss: float
    perplexity: float
    rows: int
    tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint is complete on disk; `path` is relative to the run folder."""

    step: int
    path: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Text generated during a run."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ControlAnswered:
    """A request to the worker was carried out or refused."""

    request: str
    answer: str
    step: int


@dataclass(frozen=True, kw_only=True)
class LearningRateSet:
    """From the step after `step` on, this learning rate holds, whatever the config says.

    `again` if a resumed run repeats what was set in its first life. A new wish voids those of
    later steps.
    """

    step: int
    value: float
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Resuming:
    """A run that was over gets a new worker; `changes` says which options are new, in words.

    `rate_before` is the learning rate of its config so far, if that is among them.
    """

    changes: str
    rate_before: float | None = None


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What a checkpoint holds is back, and training goes on behind `step`.

    Training losses told after step `reported`, and all else told of steps after `step`, are void:
    they come again. So do learning rates that were set then, if `keeps_rates`.
    """

    step: int
    reported: int
    keeps_rates: bool = True


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last event of a run, unless it is resumed. Without one and its lock free it has crashed.

    `early` says why a run is completed before all of its steps: it was told to give up waiting.
    `refused` says why a run that was over could not go on: it stands as it stood before.
    """

    status: Status
    message: str
    step: int = 0
    seconds: float = 0.0
    adapter_path: str = ""
    early: str = ""
    refused: str = ""


Event = (
    Started
    | Notice
    | ModelReady
    | DataReady
    | Progress
    | TrainLoss
    | ValidLoss
    | TestLoss
    | CheckpointSaved
    | ModelSaved
    | Fidelity
    | GgufSaved
    | UploadListed
    | Uploaded
    | Sample
    | ControlAnswered
    | LearningRateSet
    | Resuming
    | Resumed
    | Ended
)


@dataclass(frozen=True)
class Record:
    """An event with its place (`seq`, from 1 without a gap) and time (seconds since 1970)."""

    seq: int
    time: float
    event: Event
