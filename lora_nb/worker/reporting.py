"""Losses to wandb and swanlab as well, through mlx-lm's own callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec

from mlx_lm.tuner.callbacks import get_reporting_callbacks

from lora_nb.config import TrainConfig
from lora_nb.config.derived import services_of
from lora_nb.errors import LoraError
from lora_nb.runs.events import Event, TrainLoss, ValidLoss
from lora_nb.worker.session import Session

__all__ = ["open_reporters"]


def open_reporters(session: Session, config: TrainConfig) -> Callable[[Event], None]:
    """What emits the run's events: the session, and the services that the config names.

    Raises LoraError if a service's package is missing or the service refuses.
    """
    services = services_of(config)
    missing = [name for name in services if find_spec(name) is None]
    if missing:
        raise LoraError(
            f"report_to: {', '.join(missing)} is not installed (pip install {' '.join(missing)})."
        )
    if not services:
        return session.emit
    try:
        callback = get_reporting_callbacks(
            ",".join(services),
            project_name=config.project_name or session.run.path.parent.name,
            log_dir=str(session.run.path),
            config=dataclasses.asdict(config),  # type: ignore[arg-type]  # annotated as text
        )
    except Exception as problem:
        # The services raise errors of their own.
        raise LoraError(f"report_to: {', '.join(services)} can't be used: {problem}") from problem

    def emit(event: Event) -> None:
        session.emit(event)
        match event:
            case TrainLoss():
                callback.on_train_loss_report(
                    {
                        "iteration": event.step,
                        "train_loss": event.loss,
                        "learning_rate": event.learning_rate,
                        "iterations_per_second": event.iterations_per_second,
                        "tokens_per_second": event.tokens_per_second,
                        "trained_tokens": event.trained_tokens,
                        "peak_memory": event.peak_memory,
                    }
                )
            case ValidLoss():
                callback.on_val_loss_report(
                    {"iteration": event.step, "val_loss": event.loss, "val_time": event.seconds}
                )

    return emit
