"""What a worker tells: typed events, one JSON line each in a run's `events.jsonl`.

A line is `{"seq": 12, "time": 1764000000.5, "type": "TrainLoss", ...fields}`. It counts only with
its newline, so readers hold back an unended tail.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lora_nb.redact import redacted

__all__ = [
    "CheckpointSaved",
    "ControlAnswered",
    "DataReady",
    "Ended",
    "Event",
    "Fidelity",
    "GgufSaved",
    "LearningRateSet",
    "ModelReady",
    "ModelSaved",
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
    "UploadListed",
    "Uploaded",
    "ValidLoss",
    "decode",
    "encode",
]

Status = Literal["completed", "stopped", "failed", "aborted"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """The worker is up: where and with what it runs."""

    verb: str
    pid: int
    backend: str
    blas: str
    versions: dict[str, str] = field(default_factory=dict)


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
class ModelSaved:
    """A model is complete on disk, with how many bits a weight and in how many bytes."""

    path: str
    bits: float
    size: int
    dtype: str


@dataclass(frozen=True, kw_only=True)
class GgufSaved:
    """A GGUF file is complete: its size in bytes, and in lines how it was checked and is used."""

    path: str
    kind: str
    size: int
    checks: str
    commands: str


@dataclass(frozen=True, kw_only=True)
class UploadListed:
    """What is about to be uploaded, told before anything is: files with their sizes in bytes.

    `left_out` are files of the folder that are none of a model. A dry run ends here.
    """

    repo: str
    private: bool
    files: dict[str, int]
    left_out: list[str]
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """Everything is on the Hub and was compared with the files here; `size` is in bytes."""

    repo: str
    url: str
    private: bool
    commit: str
    files: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How a fused model compares with its base and adapter on rows from `source`.

    Losses are in nats per trained token. Agreement is the share of trained tokens where the
    likeliest token is that of base and adapter; differences are of logits, from theirs too. Those
    of the base alone tell how much the adapter changes. `advice` is empty if nothing is lost.
    """

    source: str
    rows: int
    tokens: int
    base_loss: float
    adapter_loss: float
    fused_loss: float
    base_agreement: float
    fused_agreement: float
    base_max_difference: float
    fused_max_difference: float
    base_mean_difference: float
    fused_mean_difference: float
    advice: str
    seconds: float


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
    """A run that was over gets a new worker; `changes` says which options are new, in words."""

    changes: str


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

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class Record:
    """An event with its place (`seq`, from 1 without a gap) and time (seconds since 1970)."""

    seq: int
    time: float
    event: Event


def encode(record: Record) -> bytes:
    """A record as one JSON line in UTF-8. Floats that JSON lacks become strings."""
    values = {
        "seq": record.seq,
        "time": round(record.time, 3),
        "type": type(record.event).__name__,
        **_fields(record.event),
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _fields(event: Event) -> dict[str, Any]:
    values = dataclasses.asdict(event)
    # What a model was asked and says belongs to the user, as rows do.
    if isinstance(event, Sample):
        return values
    return {key: _plain(value) for key, value in values.items()}


def decode(line: bytes) -> Record:
    """A record from its line.

    Fields unknown to this version are left out, so that newer runs stay readable.
    Raises ValueError for a line that is no event of this version.
    """
    values = json.loads(line)
    if not isinstance(values, dict) or values.get("type") not in _TYPES:
        raise ValueError(f"not an event: {line[:80]!r}")
    kind = _TYPES[values["type"]]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    try:
        known = {
            key: float(value) if fields[key].type == "float" else value
            for key, value in values.items()
            if key in fields
        }
        return Record(values["seq"], values["time"], kind(**known))
    except (KeyError, TypeError) as problem:
        raise ValueError(f"not an event: {line[:80]!r}") from problem


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
