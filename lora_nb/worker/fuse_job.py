"""What is fused and where it goes, with whatever can be refused before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_nb.config import FuseConfig, ModelOptions
from lora_nb.core.load import load_words
from lora_nb.core.model_folder import check_folder
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
from lora_nb.export.peft import check_peft_folder
from lora_nb.runs.adapters import ADAPTER_TEMPLATE, find_adapter, run_of
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.places import base_for
from lora_nb.worker.gguf import wanted_gguf
from lora_nb.worker.rows import find_base, template_for

__all__ = ["Job", "job_of", "template_file"]


@dataclass(frozen=True)
class Job:
    """What is fused, and where it goes."""

    config: FuseConfig
    options: ModelOptions
    source: Path
    adapter: Path
    run: RunFolder | None
    target: Path
    peft: Path | None
    gguf: Path | None


def job_of(config: FuseConfig) -> Job:
    """Everything that can be refused before a model is loaded."""
    adapter = find_adapter(config.adapter_path)
    run = run_of(adapter)
    name = config.model or base_for(adapter, run)
    if not name:
        raise LoraError("model: is not given, and the adapter does not name its base model.")
    source = find_base(name, adapter)
    kept = {"the base model": source, "the adapter": adapter, "the working folder": Path.cwd()}
    target = check_folder("save_path", config.save_path, kept, overwrite=config.overwrite)
    peft = None
    if config.export_peft:
        peft = check_peft_folder(config.export_peft, [source, adapter, target])
    gguf = wanted_gguf(config, source, target)
    options = ModelOptions(
        model=name,
        trust_remote_code=config.trust_remote_code,
        trust_sha256=config.trust_sha256,
        chat_template=template_for(config.chat_template, adapter, run),
    )
    return Job(config, options, source, adapter, run, target, peft, gguf)


def template_file(job: Job) -> dict[str, str]:
    """The chat template by its file's name, where that is not the base model's own."""
    if not job.options.chat_template:
        return {}
    words = load_words(job.source, job.options)
    return {ADAPTER_TEMPLATE: resolve_template(words, job.options.chat_template).text or ""}
