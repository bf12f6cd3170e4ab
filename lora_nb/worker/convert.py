"""A conversion, from its config to the new model folder."""

from __future__ import annotations

import time

import mlx.core as mx

from lora_nb.config import ConvertConfig, ModelOptions
from lora_nb.core.convert import converted
from lora_nb.core.load import find_model, load_base
from lora_nb.core.model_folder import check_target, write_model
from lora_nb.core.trust import agreed
from lora_nb.errors import LoraError
from lora_nb.export.card_text import is_on_hub
from lora_nb.runs.events import Ended, ModelReady, Progress
from lora_nb.runs.export_events import ModelSaved
from lora_nb.worker.session import Session
from lora_nb.worker.shipping import check_destination, ship

__all__ = ["Teller", "convert"]

_LOOK_SECONDS = 0.25


def convert(session: Session) -> Ended:
    """Convert a model as the run's config says."""
    config = session.run.config
    if not isinstance(config, ConvertConfig):
        raise LoraError("This run's config.yaml is no convert config.")
    started = time.perf_counter()
    source = find_model(config.model)
    target = check_target(source, config)
    check_destination(session, config)
    session.checkpoint_if_stopped()
    options = ModelOptions(
        model=config.model,
        trust_remote_code=config.trust_remote_code,
        trust_sha256=config.trust_sha256,
    )
    loaded = load_base(source, options, lazy=True, as_is=True)
    for note in loaded.notes:
        session.warn(note)
    session.emit(
        ModelReady(
            model=config.model,
            family=str(loaded.config.get("model_type", "")),
            parameters=loaded.parameters,
            trainable=0,
            bits=round(loaded.bits, 2),
            seconds=round(time.perf_counter() - started, 3),
        )
    )
    made = converted(loaded, config)
    for skipped in made.skipped:
        session.warn(str(skipped))
    teller = Teller(session, _verb(config))
    size = write_model(made, source, target, teller, with_code=agreed(source, options))
    session.emit(
        ModelSaved(path=config.mlx_path, bits=round(made.bits, 3), size=size, dtype=made.dtype)
    )
    mx.clear_cache()
    done = f"{made.bits:.2f} bits per weight, {size / 1e6:,.1f} MB in {config.mlx_path}."
    base = config.model if is_on_hub(config.model) else None
    return ship(session, config, target, done, base=base, bits=made.bits)


def _verb(config: ConvertConfig) -> str:
    if config.quantize:
        return "quantising"
    return "dequantising" if config.dequantize else "converting"


class Teller:
    """Tells how many tensors are done, a few times a second, and gives up if a stop is wanted."""

    def __init__(self, session: Session, stage: str) -> None:
        self._session = session
        self._stage = stage
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() < self._next and done != total:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        self._session.emit(Progress(stage=self._stage, done=done, total=total))
        self._session.checkpoint_if_stopped()
