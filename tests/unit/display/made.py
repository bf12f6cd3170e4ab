"""Made-up runs for the tests of the display."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_nb.runs.events import (
    CheckpointSaved,
    DataReady,
    Ended,
    Event,
    ModelReady,
    Record,
    Started,
    TrainLoss,
    ValidLoss,
)

Bundle = Mapping[str, str]


def numbered(events: Iterable[Event]) -> list[Record]:
    return [Record(place, 1.7e9 + place, event) for place, event in enumerate(events, 1)]


def started(verb: str = "train") -> Started:
    return Started(verb=verb, pid=1, backend="cpu", blas="openblas")


def model(name: str = "demo") -> ModelReady:
    return ModelReady(model=name, family="llama", parameters=9, trainable=1, bits=16, seconds=1)


def data() -> DataReady:
    return DataReady(
        rows={"train": 9}, tokens={"train": 99}, trained_tokens={"train": 9}, seconds=1
    )


def train(step: int, loss: float, steps: int = 300) -> TrainLoss:
    return TrainLoss(
        step=step,
        steps=steps,
        epoch=step / 200,
        loss=loss,
        learning_rate=1e-5,
        tokens_per_second=5234.5,
        iterations_per_second=31.2,
        trained_tokens=step * 10,
        peak_memory=0.42,
        grad_norm=1.5,
        elapsed=step / 31,
        eta=(steps - step) / 15,
    )


def valid(step: int, loss: float) -> ValidLoss:
    return ValidLoss(
        step=step, loss=loss, perplexity=math.exp(loss), tokens=99, seconds=1, best=False
    )


def saved(step: int) -> CheckpointSaved:
    return CheckpointSaved(step=step, path=f"checkpoints/{step:07}", best=False)


def ended(step: int = 300, *, adapter: str = "adapters") -> Ended:
    return Ended(status="completed", message="", step=step, seconds=41, adapter_path=adapter)


def losses(steps: int, every: int = 1, planned: int = 300) -> list[Event]:
    return [train(s, 2 * math.exp(-s / 100) + 0.1, planned) for s in range(every, steps + 1, every)]


def finished(steps: int = 300) -> list[Record]:
    """A completed training with the best validation at step 250."""
    checks = [valid(0, 2.5), valid(100, 0.9), valid(250, 0.031), valid(steps, 0.034)]
    return numbered(
        [started(), model(), data(), *checks, *losses(steps, 10), saved(100), saved(200), ended()]
    )


@dataclass
class View:
    """A run as the display sees it."""

    name: str = "20260101-120000-demo"
    path: Path = Path("runs/20260101-120000-demo")
    verb: str = "train"
    status: str = "completed"
    told: list[Record] = field(default_factory=finished)
    options: Mapping[str, str] = field(default_factory=lambda: {"model": "demo", "data": "demo"})

    def records(self) -> list[Record]:
        return self.told

    def config_items(self) -> Mapping[str, str]:
        return self.options


@dataclass
class FakeKernel:
    """Remembers each output's first bundle and its updates, with their metadata."""

    shown: list[Bundle] = field(default_factory=list)
    updates: list[Bundle] = field(default_factory=list)
    metadata: list[Mapping[str, Mapping[str, object]]] = field(default_factory=list)

    def display(
        self, obj: Bundle, *, raw: bool, metadata: Mapping[str, Mapping[str, object]]
    ) -> None:
        assert raw
        self.shown.append(dict(obj))
        self.metadata.append(metadata)

    def update(
        self, obj: Bundle, *, raw: bool, metadata: Mapping[str, Mapping[str, object]]
    ) -> None:
        assert raw
        self.updates.append(dict(obj))
        self.metadata.append(metadata)

    @property
    def last(self) -> Bundle:
        return (self.shown + self.updates)[-1]
