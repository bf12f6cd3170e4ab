"""A training run, from its config to the published adapter."""

from __future__ import annotations

from pathlib import Path

from lora_nb.config import TrainConfig
from lora_nb.core.adapters import make_trainable, start_from
from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.dora import check_dora
from lora_nb.core.evaluate import Evaluator
from lora_nb.core.forward import Forward
from lora_nb.core.load import Loaded
from lora_nb.core.loop import Trainer, steps_of
from lora_nb.core.memory import checkpoint_gradients, wire_memory
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.errors import LoraError
from lora_nb.runs.events import CheckpointSaved, Ended
from lora_nb.worker.model import load_for
from lora_nb.worker.prepare import Ready, make_ready
from lora_nb.worker.reporting import open_reporters
from lora_nb.worker.session import Session, StoppedEarlyError
from lora_nb.worker.test import evaluate_test

__all__ = ["train"]


def train(session: Session) -> Ended:
    """Fine-tune as the run's config says. What has been learnt is saved at every ending."""
    config = session.run.config
    if not isinstance(config, TrainConfig):
        raise LoraError("This run's config.yaml is no train config.")
    emit = open_reporters(session, config)
    ready = make_ready(session, config, ["train", *(["test"] if config.test else [])])
    optimizer = make_optimizer(config)
    writer = CheckpointWriter(
        session.run.checkpoints_path, Path(config.adapter_path).expanduser(), {}
    )
    writer.prepare()

    def fit_out(loaded: Loaded) -> None:
        check_dora(loaded, config)
        writer.described.update(make_trainable(loaded.model, config))
        if config.resume_adapter_file:
            start_from(loaded.model, config.resume_adapter_file, writer.described)
        if config.grad_checkpoint:
            checkpoint_gradients(loaded.model)

    loaded = load_for(session, config, ready, fit_out)
    wire_memory()

    def save(step: int, best: bool) -> None:
        state = {"best_loss": trainer.best_loss, "best_step": trainer.best_step}
        state |= {"trained_tokens": trainer.meter.trained_tokens, "seed": config.seed}
        path = writer.save(step, loaded.model, optimizer, trainer.stepper.carried, state)
        relative = str(path.relative_to(session.run.path))
        session.emit(CheckpointSaved(step=step, path=relative, best=best))

    forward, plan = _shortcuts(session, config, loaded, ready)

    def after_step(_step: int) -> None:
        said = plan.release_when_complete(trainer.stepper.rebuild) if plan else None
        if said:
            session.inform(said)

    trainer = Trainer(
        model=loaded.model,
        optimizer=optimizer,
        config=config,
        train=ready.splits["train"],
        valid=ready.splits.get("valid"),
        emit=emit,
        save=save,
        requests=session,
        forward=forward,
        after_step=after_step,
    )
    outcome = trainer.run()
    if config.test and outcome.status == "completed":
        _test(session, Evaluator(loaded.model, forward), ready, config)
    return _ending(trainer, outcome.status, outcome.step)


def _shortcuts(
    session: Session, config: TrainConfig, loaded: Loaded, ready: Ready
) -> tuple[Forward, TrunkPlan | None]:
    """The way to a batch's loss, with the trunk's cache where it fits the model and the memory."""
    train = ready.splits["train"]
    plan = plan_trunk(
        loaded.model, config, ready.splits, steps=steps_of(config, train), folder=session.run.path
    )
    trunk = plan.trunk if isinstance(plan, TrunkPlan) else None
    forward = Forward(loaded.model, trunk)
    for note in forward.suit(loaded.model, train.batch(0)):
        session.inform(note)
    if isinstance(plan, str):
        if plan:
            session.inform(plan)
        return forward, None
    if forward.trunk is None:
        return forward, None
    session.inform(plan.note)
    return forward, plan


def _test(session: Session, evaluator: Evaluator, ready: Ready, config: TrainConfig) -> None:
    # The adapter is saved by now, so a stop here loses nothing and the run counts as completed.
    try:
        evaluate_test(session, evaluator, ready.splits["test"], config.test_batches)
    except StoppedEarlyError:
        session.inform("The test was stopped. The adapter is saved.")


def _ending(trainer: Trainer, status: str, step: int) -> Ended:
    folder = trainer.config.adapter_path
    if step == 0:
        return Ended(status="stopped", message="Stopped before the first step; nothing to save.")
    message = f"{step} steps, adapter in {folder}."
    if trainer.best_step >= 0:
        message += f" Best validation loss {trainer.best_loss:.3f} at step {trainer.best_step}."
    if status == "stopped":
        return Ended(status="stopped", message=message, step=step, adapter_path=folder)
    return Ended(status="completed", message=message, step=step, adapter_path=folder)
