"""Whether a fused model answers as base and adapter do: measured, told, stored, in its card."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from lora_nb.config import ModelOptions
from lora_nb.core.adapters import put_on
from lora_nb.core.load import load_base, load_words
from lora_nb.data.templates import Template, resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from lora_nb.export.card import CARD, check_section
from lora_nb.export.fidelity import Measured, Rows, compared, measure
from lora_nb.runs.events import Progress
from lora_nb.runs.export_events import Fidelity, ModelSaved
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.fuse_job import Job
from lora_nb.worker.rows import SomeRows, data_options, fixed_prompts, read_some
from lora_nb.worker.session import Session

__all__ = ["told"]

_QUANTISED = (
    "Quantising again has rounded it away. Fuse with --dequantize, or train on a base of more bits "
    "(%lora_convert --quantize --q-bits 8), or use the adapter alone (--adapter-path)."
)
_ROUNDED = (
    "Weights of {dtype} have rounded it away. Use the adapter alone (--adapter-path), or a base "
    "model in float32 (%lora_convert --dtype float32)."
)


def told(session: Session, job: Job, saved: ModelSaved, packed: bool) -> str:
    """What the check of the fused model says, if there is one."""
    if not job.config.check_rows:
        return ""
    quantised = packed and not job.config.dequantize
    repair = _QUANTISED if quantised else _ROUNDED.format(dtype=saved.dtype)
    try:
        found = _checked(session, job, repair)
    except LoraError as problem:
        session.warn(f"The fused model is written but could not be checked: {problem}")
        return ""
    return f" Loss {found.fused_loss:.3f}, with the adapter {found.adapter_loss:.3f}."


def _checked(session: Session, job: Job, repair: str) -> Fidelity:
    """Compare the fused model with base and adapter; stored, told, and in the model card."""
    started = time.perf_counter()
    some = _rows(session, job)
    rows = Rows(some.encoded, some.where, some.source)
    ticks = _Ticks(session, 3 * len(some))
    with_adapter, base = _of_both(job, rows, ticks)
    gc.collect()
    mx.clear_cache()
    result = load_base(job.target, ModelOptions(model=str(job.target))).model
    after = measure(result, rows, ticks)
    found = compared(rows, base, with_adapter, after, started, repair)
    _store(session.run.fidelity_path, found, rows, base, with_adapter, after)
    session.emit(found)
    if found.advice:
        session.warn(found.advice)
    card = (job.target / CARD).read_text(encoding="utf-8") + check_section(found)
    write_whole(job.target / CARD, card)
    return found


def _of_both(job: Job, rows: Rows, ticks: _Ticks) -> tuple[Measured, Measured]:
    """What the base model makes of the rows with the adapter, and without."""
    model = load_base(job.source, job.options).model
    laid = put_on(model, job.adapter)
    model.eval()
    with_adapter = measure(model, rows, ticks)
    laid.off()
    return with_adapter, measure(model, rows, ticks)


def _rows(session: Session, job: Job) -> SomeRows:
    words = load_words(job.source, job.options)
    template: Template = resolve_template(words, job.options.chat_template)
    options = data_options(job.options.model, job.config.data, job.run)
    if options is None:
        return fixed_prompts(words, template)
    encoder = Encoder(words, options, template)
    splits = ("valid", "test", "train")
    try:
        return read_some(options, encoder, splits, job.config.check_rows, spread=True)
    except LoraError as problem:
        if job.config.data:
            raise
        session.warn(f"The rows of the training can't be read, fixed prompts are used: {problem}")
        return fixed_prompts(words, template)


@dataclass
class _Ticks:
    """Tells how far the check is, and gives up if a stop is wanted."""

    session: Session
    total: int
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        self.session.emit(Progress(stage="checking", done=self.done, total=self.total))
        self.session.checkpoint_if_stopped()


def _store(path: Path, found: Fidelity, rows: Rows, *measured: Measured) -> None:
    losses = zip(*(each.row_losses for each in measured), strict=True)
    content = {
        **{key: _finite(value) for key, value in dataclasses.asdict(found).items()},
        "by_row": [
            {
                "row": where,
                "base_loss": _finite(base),
                "adapter_loss": _finite(adapter),
                "fused_loss": _finite(after),
            }
            for where, (base, adapter, after) in zip(rows.where, losses, strict=True)
        ],
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, text)


def _finite(value: Any) -> Any:
    """A number that JSON has, or None."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
