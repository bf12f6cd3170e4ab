"""Fusing, from its config to a new model folder that is compared with what it was made of."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import mlx.core as mx

from lora_nb.config import FuseConfig
from lora_nb.core.load import Loaded, load_base
from lora_nb.core.model_folder import write_model
from lora_nb.errors import LoraError
from lora_nb.export.card import CARD, model_card
from lora_nb.export.fuse import fused, lay_on
from lora_nb.export.peft import as_peft, write_peft
from lora_nb.runs.adapters import ADAPTER_CONFIG
from lora_nb.runs.events import Ended, ModelReady
from lora_nb.runs.export_events import ModelSaved
from lora_nb.runs.places import step_of
from lora_nb.worker.convert import Teller
from lora_nb.worker.fuse_check import told
from lora_nb.worker.fuse_job import Job, job_of, template_file
from lora_nb.worker.gguf import write_gguf_file
from lora_nb.worker.rows import check_base
from lora_nb.worker.session import Session, StoppedEarlyError
from lora_nb.worker.shipping import check_destination, ship

__all__ = ["fuse"]


def fuse(session: Session) -> Ended:
    """Fuse an adapter as the run's config says, and check the result."""
    config = session.run.config
    if not isinstance(config, FuseConfig):
        raise LoraError("This run's config.yaml is no fuse config.")
    job = job_of(config)
    check_destination(session, config)
    session.checkpoint_if_stopped()
    check_base(job.adapter, job.source, job.options.model, session.warn)
    saved, packed = _fused(session, job)
    done = f"{saved.bits:.2f} bits per weight, {saved.size / 1e6:,.1f} MB in {config.save_path}."
    gc.collect()
    mx.clear_cache()
    if job.gguf is not None:
        try:
            write_gguf_file(session, job.target, job.gguf, config)
        except StoppedEarlyError:
            return Ended(status="stopped", message=f"{done} The GGUF file was not finished.")
    try:
        answer = told(session, job, saved, packed)
    except StoppedEarlyError:
        return Ended(status="stopped", message=f"{done} Its check was stopped.")
    # The card that goes with it has the result of the check.
    return ship(session, config, job.target, f"{done}{answer}", base=config.hf_path)


def _fused(session: Session, job: Job) -> tuple[ModelSaved, bool]:
    """Write the fused model, and the adapter for PEFT; also whether the base is quantised."""
    started = time.perf_counter()
    loaded = load_base(job.source, job.options, lazy=True, as_is=True)
    for note in loaded.notes:
        session.warn(note)
    laid = lay_on(loaded, job.adapter, dequantize=job.config.dequantize)
    session.emit(_ready(job, loaded, started))
    for_peft = as_peft(loaded.model, laid, job.options.model) if job.peft else None
    made = fused(loaded, laid, dequantize=job.config.dequantize)
    card = model_card(
        job.options.model,
        _described(job.adapter),
        job.run,
        made.bits,
        job.config.hf_path,
        step=step_of(job.adapter, job.run),
    )
    template = template_file(job)
    texts = {CARD: card, **template}
    teller = Teller(session, "fusing")
    size = write_model(made, job.source, job.target, teller, option="save_path", texts=texts)
    saved = ModelSaved(
        path=job.config.save_path, bits=round(made.bits, 3), size=size, dtype=made.dtype
    )
    session.emit(saved)
    if any(job.source.glob("*.py")):
        session.inform("Code that comes with the base model is not copied to the fused one.")
    if job.peft is not None and for_peft is not None:
        write_peft(*for_peft, job.peft, template)
        session.inform(f"The adapter as PEFT loads it is in {job.config.export_peft}.")
    return saved, bool(loaded.packed)


def _ready(job: Job, loaded: Loaded, started: float) -> ModelReady:
    return ModelReady(
        model=job.options.model,
        family=str(loaded.config.get("model_type", "")),
        parameters=loaded.parameters,
        trainable=0,
        bits=round(loaded.bits, 2),
        seconds=round(time.perf_counter() - started, 3),
    )


def _described(adapter: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return found
