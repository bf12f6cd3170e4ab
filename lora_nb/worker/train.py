"""A training run, from its config to the published adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lora_nb.config import TrainConfig
from lora_nb.core.checkpoint import CheckpointWriter, NotPublishedError
from lora_nb.core.evaluate import Evaluator
from lora_nb.core.forward import Forward
from lora_nb.core.load import Loaded
from lora_nb.core.loop import Outcome, Trainer, steps_of
from lora_nb.core.memory import wire_memory
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.packed import check_packing
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.errors import LoraError
from lora_nb.runs.events import CheckpointSaved, Ended
from lora_nb.worker.fit import check_fit
from lora_nb.worker.model import load_for, make_tunable
from lora_nb.worker.prepare import Ready, make_ready
from lora_nb.worker.reporting import open_reporters
from lora_nb.worker.resume import Identity, go_on, saved_event, saved_of
from lora_nb.worker.sampling import Sampler
from lora_nb.worker.session import Session, StoppedEarlyError
from lora_nb.worker.test import evaluate_test

__all__ = ["train"]


def train(session: Session) -> Ended:
    """Fine-tune as the run's config says. What has been learnt is saved at every ending."""
    config = session.run.config
    if not isinstance(config, TrainConfig):
        raise LoraError("This run's config.yaml is no train config.")
    session.trains = True
    resumes = session.resumes
    saved = saved_of(session) if resumes else None
    emit = open_reporters(session, config)
    ready = make_ready(session, config, ["train", *(["test"] if config.test else [])])
    optimizer = make_optimizer(config)
    writer = CheckpointWriter(
        session.run.checkpoints_path,
        Path(config.adapter_path).expanduser(),
        {"run": session.run.name},
        overwrite=config.overwrite,
        only_best=config.publish == "best",
        keep=config.keep_checkpoints,
        template=ready.own_template,
    )
    writer.prepare()
    _check_validated(config, ready)

    identity = Identity.of(ready)
    if saved is not None:
        identity.compare(session, saved)
    else:
        check_fit(session, config, ready)

    def fit_out(loaded: Loaded) -> None:
        writer.described.update(make_tunable(loaded, config, ready, anew=saved is None))

    loaded = load_for(session, config, ready, fit_out)
    wire_memory()

    def save(step: int, best: bool) -> None:
        state = trainer.as_state() | identity.as_state()
        state |= {"seed": config.seed, "learning_rate": config.learning_rate}
        stepper, best_step = trainer.stepper, trainer.best.saved_step
        told = saved_event(step, best=best)
        _keep(
            session,
            told,
            lambda: writer.save(
                step, loaded.model, stepper.optimizer_state, stepper.carried, state, best_step
            ),
        )

    forward, plan = _shortcuts(session, config, loaded, ready)

    def after_step(_step: int) -> None:
        said = plan.release_when_complete() if plan else None
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
        sample=Sampler(session, config, ready, loaded, lambda: _is_whole(plan)),
    )
    if resumes:
        go_on(session, trainer, saved)
    outcome = trainer.run()
    if config.test and outcome.status == "completed":
        _test(session, Evaluator(loaded.model, forward), ready, config)
    return _ending(session, trainer, writer, outcome)


def _keep(session: Session, told: CheckpointSaved, save: Callable[[], object]) -> None:
    """Save a checkpoint and tell of it."""
    problem = ""
    try:
        save()
    except NotPublishedError as not_published:
        problem = str(not_published)
    session.emit(told)
    if problem:
        # What is learnt is safe, so the training goes on; the end tries once more.
        session.warn(f"{problem} The next save tries it again.")


def _shortcuts(
    session: Session, config: TrainConfig, loaded: Loaded, ready: Ready
) -> tuple[Forward, TrunkPlan | None]:
    """The way to a batch's loss, with the trunk's cache where it fits the model and the memory."""
    train = ready.splits["train"]
    if config.packing:
        check_packing(loaded.model, loaded.config, train.prepared, config.batch_size)
    plan = plan_trunk(
        loaded.model, config, ready.splits, steps=steps_of(config, train), folder=session.run.path
    )
    trunk = plan.trunk if isinstance(plan, TrunkPlan) else None
    forward = Forward(loaded.model, trunk)
    for note in forward.suit(loaded.model, train.part(0, 0, 2)):
        session.inform(note)
    if isinstance(plan, str):
        if plan:
            session.inform(plan)
        return forward, None
    if forward.trunk is None:
        return forward, None
    session.inform(plan.note)
    return forward, plan


def _is_whole(plan: TrunkPlan | None) -> bool:
    return plan is None or not plan.trunk.released


def _test(session: Session, evaluator: Evaluator, ready: Ready, config: TrainConfig) -> None:
    # The adapter is saved by now, so a stop here loses nothing and the run counts as completed.
    try:
        evaluate_test(session, evaluator, ready.splits["test"], config.test_batches)
    except StoppedEarlyError:
        session.inform("The test was stopped. The adapter is saved.")


def _check_validated(config: TrainConfig, ready: Ready) -> None:
    """Raise LoraError if something is wanted of validations and there are no rows for any."""
    wanted = "early_stop" if config.early_stop else "publish" if config.publish == "best" else ""
    if wanted and "valid" not in ready.splits:
        raise LoraError(
            f"{wanted}: needs validation rows, but the data has none. Add valid.jsonl, or make "
            "some of the train rows, e.g. with --split 0.9/0.1."
        )


def _ending(
    session: Session, trainer: Trainer, writer: CheckpointWriter, outcome: Outcome
) -> Ended:
    config, best, step = trainer.config, trainer.best, outcome.step
    if step == 0:
        return Ended(status="stopped", message="Stopped before the first step; nothing to save.")
    published = best.saved_step if writer.only_best and best.saved_step > 0 else step
    if writer.published != published:
        _publish(writer, published, session.run.name)
    of_step = f" of step {published}" if writer.only_best else ""
    message = f"{step} steps, adapter{of_step} in {config.adapter_path}."
    if best.step >= 0:
        before = " (before training)" if best.step == 0 else ""
        message += f" Best validation loss {best.loss:.3f} at step {best.step}{before}."
    early = ""
    if outcome.early:
        early = f"the validation loss has not fallen for {config.early_stop} validations"
        message = f"Stopped early, as {early}: {message}"
    return Ended(
        status=outcome.status,
        message=message,
        step=step,
        adapter_path=config.adapter_path,
        early=early,
    )


def _publish(writer: CheckpointWriter, step: int, run: str) -> None:
    try:
        writer.publish(step)
    except NotPublishedError as problem:
        then = f"`%lora_train --resume {run}` publishes it then."
        raise NotPublishedError(f"{problem} {then}") from None
