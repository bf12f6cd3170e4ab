"""Load the model of a run and say what it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lora_nb.config import ModelOptions, TrainConfig
from lora_nb.core.dora import check_dora
from lora_nb.core.full import check_full
from lora_nb.core.load import Loaded, load_base, trainable_of
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.trainable import make_trainable, start_from
from lora_nb.runs.events import ModelReady
from lora_nb.worker.prepare import Ready
from lora_nb.worker.session import Session

__all__ = ["load_for", "make_tunable"]


def make_tunable(
    loaded: Loaded, config: TrainConfig, ready: Ready, *, anew: bool = True
) -> dict[str, Any]:
    """Make a model ready for training; returns its `adapter_config.json`. Raises LoraError.

    Not `anew`, it is about to get other weights.
    """
    check_dora(loaded, config)
    check_full(loaded, config)
    described = make_trainable(loaded.model, config)
    described["base_sha256"] = ready.model_key
    if config.resume_adapter_file and anew:
        start_from(loaded.model, config.resume_adapter_file, described)
    if config.grad_checkpoint:
        checkpoint_gradients(loaded.model)
    return described


def load_for(
    session: Session, config: ModelOptions, ready: Ready, fit_out: Callable[[Loaded], object]
) -> Loaded:
    """The base model, given its adapter by `fit_out`; a ModelReady event tells of both."""
    session.checkpoint_if_stopped()
    started = time.perf_counter()
    loaded = load_base(ready.model_path, config)
    for note in loaded.notes:
        session.warn(note)
    fit_out(loaded)
    session.emit(
        ModelReady(
            model=config.model,
            family=str(loaded.config.get("model_type", "")),
            parameters=loaded.parameters,
            trainable=trainable_of(loaded.model),
            bits=round(loaded.bits, 2),
            seconds=round(time.perf_counter() - started, 3),
        )
    )
    return loaded
