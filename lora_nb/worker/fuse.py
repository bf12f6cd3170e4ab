"""Fusing, from its config to a new model folder that is compared with what it was made of."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from lora_nb.config import FuseConfig, ModelOptions
from lora_nb.core.adapters import put_on
from lora_nb.core.convert import check_folder, write_model
from lora_nb.core.load import Loaded, find_model, load_base, load_words
from lora_nb.data.templates import Template, resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from lora_nb.export.card import CARD, check_section, model_card
from lora_nb.export.fidelity import Measured, Rows, compared, measure
from lora_nb.export.fuse import fused, lay_on
from lora_nb.export.peft import as_peft, check_peft_folder, write_peft
from lora_nb.runs.adapters import ADAPTER_CONFIG, base_of, find_adapter, run_of
from lora_nb.runs.events import Ended, Fidelity, ModelReady, ModelSaved, Progress
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.convert import Teller
from lora_nb.worker.gguf import wanted_gguf, write_gguf_file
from lora_nb.worker.rows import SomeRows, data_options, fixed_prompts, read_some, template_of
from lora_nb.worker.session import Session, StoppedEarlyError
from lora_nb.worker.shipping import check_destination, ship

__all__ = ["fuse"]

_QUANTISED = (
    "Quantising again has rounded it away. Fuse with --dequantize, or train on a base of more bits "
    "(%lora_convert --quantize --q-bits 8), or use the adapter alone (--adapter-path)."
)
_ROUNDED = (
    "Weights of {dtype} have rounded it away. Use the adapter alone (--adapter-path), or a base "
    "model in float32 (%lora_convert --dtype float32)."
)


@dataclass(frozen=True)
class _Job:
    """What is fused, and where it goes."""

    config: FuseConfig
    options: ModelOptions
    source: Path
    adapter: Path
    run: RunFolder | None
    target: Path
    peft: Path | None
    gguf: Path | None


def fuse(session: Session) -> Ended:
    """Fuse an adapter as the run's config says, and check the result."""
    config = session.run.config
    if not isinstance(config, FuseConfig):
        raise LoraError("This run's config.yaml is no fuse config.")
    job = _job(config)
    check_destination(session, config)
    session.checkpoint_if_stopped()
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
        told = _told(session, job, saved, packed)
    except StoppedEarlyError:
        return Ended(status="stopped", message=f"{done} Its check was stopped.")
    # The card that goes with it has the result of the check.
    return ship(session, config, job.target, f"{done}{told}", base=config.hf_path)


def _told(session: Session, job: _Job, saved: ModelSaved, packed: bool) -> str:
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


def _job(config: FuseConfig) -> _Job:
    """Everything that can be refused before a model is loaded."""
    adapter = find_adapter(config.adapter_path)
    name = config.model or base_of(adapter)
    if not name:
        raise LoraError("model: is not given, and the adapter does not name its base model.")
    source = find_model(name)
    kept = {"the base model": source, "the adapter": adapter, "the working folder": Path.cwd()}
    target = check_folder("save_path", config.save_path, kept, overwrite=config.overwrite)
    peft = None
    if config.export_peft:
        peft = check_peft_folder(config.export_peft, [source, adapter, target])
    gguf = wanted_gguf(config, source, target)
    run = run_of(adapter)
    options = ModelOptions(
        model=name,
        trust_remote_code=config.trust_remote_code,
        trust_sha256=config.trust_sha256,
        chat_template=template_of(config.chat_template, run),
    )
    return _Job(config, options, source, adapter, run, target, peft, gguf)


def _fused(session: Session, job: _Job) -> tuple[ModelSaved, bool]:
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
        job.options.model, _described(job.adapter), job.run, made.bits, job.config.hf_path
    )
    texts = {CARD: card}
    if job.options.chat_template:
        words = load_words(job.source, job.options)
        texts["chat_template.jinja"] = resolve_template(words, job.options.chat_template).text or ""
    teller = Teller(session, "fusing")
    size = write_model(made, job.source, job.target, teller, option="save_path", texts=texts)
    saved = ModelSaved(
        path=job.config.save_path, bits=round(made.bits, 3), size=size, dtype=made.dtype
    )
    session.emit(saved)
    if any(job.source.glob("*.py")):
        session.inform("Code that comes with the base model is not copied to the fused one.")
    if job.peft is not None and for_peft is not None:
        write_peft(*for_peft, job.peft)
        session.inform(f"The adapter as PEFT loads it is in {job.config.export_peft}.")
    return saved, bool(loaded.packed)


def _ready(job: _Job, loaded: Loaded, started: float) -> ModelReady:
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


def _checked(session: Session, job: _Job, repair: str) -> Fidelity:
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


def _of_both(job: _Job, rows: Rows, ticks: _Ticks) -> tuple[Measured, Measured]:
    """What the base model makes of the rows with the adapter, and without."""
    model = load_base(job.source, job.options).model
    laid = put_on(model, job.adapter)
    model.eval()
    with_adapter = measure(model, rows, ticks)
    laid.off()
    return with_adapter, measure(model, rows, ticks)


def _rows(session: Session, job: _Job) -> SomeRows:
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
