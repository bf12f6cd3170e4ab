"""A training that goes on: from which checkpoint, whether with the same things, and from where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_nb.config import TrainConfig
from lora_nb.core.checkpoint import settle
from lora_nb.core.loop import Trainer, steps_of
from lora_nb.core.resume import Saved, data_key, newest_whole, put_back
from lora_nb.errors import LoraError
from lora_nb.runs.events import (
    CheckpointSaved,
    LearningRateSet,
    Record,
    Resumed,
    Resuming,
    Started,
)
from lora_nb.worker.prepare import Ready
from lora_nb.worker.session import Session

__all__ = ["Identity", "go_on", "saved_event", "saved_of"]

# What results may hang on to the last bit.
_PARTS = ("mlx", "mlx-lm")


@dataclass(frozen=True)
class Identity:
    """Hashes of what a training is made of: its model, and the rows of each split as tokens."""

    model: str
    rows: Mapping[str, str]

    @classmethod
    def of(cls, ready: Ready) -> Identity:
        """The identity of what was made ready."""
        rows = {name: data_key(split.prepared.encoded) for name, split in ready.splits.items()}
        return cls(ready.model_key, rows)

    def as_state(self) -> dict[str, Any]:
        """The hashes for a checkpoint's state."""
        return {"model": self.model, "rows": dict(self.rows)}

    def compare(self, session: Session, saved: Saved) -> None:
        """Raise LoraError if the checkpoint comes from another model or other training rows."""
        then, rows = saved.state.get("model"), saved.state.get("rows", {})
        other = [
            *(["the model's files"] if then != self.model else []),
            *(["the training rows or their tokens"] if _differ(rows, self.rows, "train") else []),
        ]
        if other:
            changed = " and ".join(other)
            raise LoraError(
                f"Not resumed: {changed} have changed since step {saved.step}, so the run can't "
                "go on as it was. Put them back, or start a new run from its weights with "
                f"--resume-adapter-file {session.run.name}."
            )
        if _differ(rows, self.rows, "valid"):
            session.warn(
                "The validation rows have changed, so validation losses before and after "
                f"step {saved.step} can't be compared."
            )


def _differ(then: Mapping[str, str], now: Mapping[str, str], split: str) -> bool:
    return then.get(split) != now.get(split)


def saved_event(step: int, *, best: bool) -> CheckpointSaved:
    """What is told of the checkpoint of a step."""
    return CheckpointSaved(step=step, path=f"checkpoints/{step:07d}", best=best)


def saved_of(session: Session) -> Saved | None:
    """The checkpoint to go on from, damaged ones told of; None if there is none yet."""
    settle(session.run.checkpoints_path)
    saved, damaged = newest_whole(session.run.checkpoints_path)
    for text in damaged:
        session.warn(f"{text} The one before is used.")
    if saved is None:
        session.inform("There is no checkpoint yet, so the run begins anew.")
    _tell_of_versions(session)
    return saved


def _tell_of_versions(session: Session) -> None:
    started = [r.event for r in session.run.records() if isinstance(r.event, Started)]
    if len(started) < 2:
        return
    then, now = started[-2], started[-1]
    pairs = {name: (then.versions.get(name), now.versions.get(name)) for name in _PARTS}
    pairs |= {"device": (then.backend, now.backend), "BLAS": (then.blas, now.blas)}
    changed = [f"{name} was {old}, now {new}" for name, (old, new) in pairs.items() if old != new]
    if changed:
        session.warn(f"{'; '.join(changed)}: results may differ in their last bits.")


def go_on(session: Session, trainer: Trainer, saved: Saved | None) -> None:
    """Give a trainer what the checkpoint holds, and tell of it.

    Raises LoraError if the checkpoint does not fit, or has more steps than are wanted.
    """
    step = 0 if saved is None else saved.step
    if saved is not None:
        _restore(trainer, saved)
    records, config = session.run.records(), trainer.config
    given = _first_rate(records, config) if saved is None else saved.state["learning_rate"]
    same_rate = config.learning_rate == _given(records, step, given)
    session.emit(Resumed(step=step, reported=trainer.meter.reported, keeps_rates=same_rate))
    if saved is not None:
        session.inform(f"Resumed from the checkpoint of step {step}.")
        if step not in {each.step for each in session.run.checkpoints}:
            # The worker before was killed between saving it and telling of it.
            session.emit(saved_event(step, best=step == trainer.best.saved_step))
    if not same_rate:
        trainer.set_learning_rate(step, config.learning_rate)
        return
    rates = _rates(records)
    trainer.rates = {at: rate for at, rate in rates.items() if at >= step}
    earlier = [at for at in rates if at < step]
    if earlier:
        # The optimizer holds it already, but a schedule would win again.
        trainer.stepper.set_learning_rate(rates[max(earlier)])


def _restore(trainer: Trainer, saved: Saved) -> None:
    step, total = saved.step, steps_of(trainer.config, trainer.train)
    if step > total:
        raise LoraError(
            f"Not resumed: the checkpoint is of step {step}, and only {total} are wanted. "
            f"Give --iters with more than {step}."
        )
    put_back(saved, trainer.model, trainer.stepper)
    trainer.restore(step, saved.state)


def _rates(records: Iterable[Record]) -> dict[int, float]:
    """The learning rates that were set in the course of a run, by the step they came after."""
    rates: dict[int, float] = {}
    for record in records:
        match record.event:
            case LearningRateSet(step=step, value=value, again=again):
                if not again:
                    rates = {at: rate for at, rate in rates.items() if at < step}
                rates[step] = value
            case Resumed(step=step, keeps_rates=False):
                rates = {at: rate for at, rate in rates.items() if at < step}
    return rates


def _first_rate(records: Iterable[Record], config: TrainConfig) -> float:
    """The learning rate that the run was started with."""
    told = (r.event.rate_before for r in records if isinstance(r.event, Resuming))
    return next((rate for rate in told if rate is not None), config.learning_rate)


def _given(records: Iterable[Record], step: int, saved: float) -> float:
    """The learning rate that was last given to the run: for going on from this step, or before it.

    `saved` is the one of the checkpoint, or that of the start. What an earlier worker was given for
    this step is not in the checkpoint yet.
    """
    given, awaited = saved, False
    for record in records:
        match record.event:
            case Resumed(step=at, keeps_rates=False):
                given, awaited = saved, at == step
            case LearningRateSet(value=value) if awaited:
                given, awaited = value, False
    return given
