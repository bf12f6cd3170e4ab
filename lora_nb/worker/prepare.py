"""What training and testing do first: tokenizer, rows, tokens, and everything wrong with them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.utils import load_config

from lora_nb.config import TestConfig, TrainConfig
from lora_nb.core.batching import Split
from lora_nb.core.load import context_of, find_model, load_words
from lora_nb.core.model_key import model_key
from lora_nb.data.doctor import examine
from lora_nb.data.findings import Finding, raise_errors
from lora_nb.data.packing import pack
from lora_nb.data.prepare import Prepared
from lora_nb.data.sources import open_splits
from lora_nb.data.templates import Template, resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.runs.events import DataReady, Notice, Progress
from lora_nb.worker.session import Session

__all__ = ["Ready", "make_ready"]


@dataclass(frozen=True)
class Ready:
    """A model folder, its tokenizer, and the splits in batches."""

    model_path: Path
    tokenizer: TokenizerWrapper
    splits: dict[str, Split]
    template: Template

    @cached_property
    def model_key(self) -> str:
        """The hash of the model's files."""
        return model_key(self.model_path)

    @property
    def own_template(self) -> str | None:
        """The chat template that goes with an adapter: that of the rows, if not the model's own."""
        if self.template.origin == "chatml":
            chats = any(set(split.prepared.kinds) - {"text"} for split in self.splits.values())
            return self.template.text if chats else None
        return self.template.text if self.template.origin == "file" else None


def make_ready(session: Session, config: TrainConfig | TestConfig, need: Sequence[str]) -> Ready:
    """Find the model, read and check the rows of the needed splits, and encode them.

    Raises LoraError that lists every error in the data with file and line.
    """
    path = find_model(config.model)
    tokenizer = load_words(path, config)
    model_config = load_config(path)
    session.checkpoint_if_stopped()
    started = time.perf_counter()

    def progress(done: int, total: int) -> None:
        session.emit(Progress(stage="reading data", done=done, total=total))
        session.checkpoint_if_stopped()

    template = resolve_template(tokenizer, config.chat_template)
    encoder = Encoder(tokenizer, config, template)
    examined = examine(
        open_splits(config, need),
        encoder,
        config,
        context=context_of(model_config),
        vocab=model_config.get("vocab_size"),
        progress=progress,
    )
    raise_errors(examined.findings)
    _tell(session, examined.findings)
    prepared = {name: found for name, found in examined.prepared.items() if found.encoded}
    session.emit(
        DataReady(
            rows={name: len(found.encoded) for name, found in prepared.items()},
            tokens={name: found.tokens for name, found in prepared.items()},
            trained_tokens={name: found.trained for name, found in prepared.items()},
            seconds=round(time.perf_counter() - started, 3),
        )
    )
    if isinstance(config, TrainConfig) and config.packing:
        prepared["train"] = _packed(session, prepared["train"], config)
    splits = {
        name: Split.of(found, config.batch_size, config.seed, shuffle=name == "train", name=name)
        for name, found in prepared.items()
    }
    return Ready(path, tokenizer, splits, template)


def _packed(session: Session, prepared: Prepared, config: TrainConfig) -> Prepared:
    packed = pack(prepared, config.max_seq_length, config.seed)
    rows, sequences = len(prepared), len(packed)
    session.inform(
        f"Packing: {rows:,} rows in {sequences:,} sequences, so a batch of {config.batch_size} "
        f"holds {config.batch_size * rows / sequences:.0f} rows on average."
    )
    return packed


def _tell(session: Session, findings: Sequence[Finding]) -> None:
    for finding in findings:
        level: Literal["info", "warning"] = "info" if finding.severity == "info" else "warning"
        more = f" ({finding.count} in all)" if finding.count > 1 else ""
        text = f"{finding.lines[0]}{more} {finding.remedy}".rstrip()
        session.emit(Notice(level=level, message=text))
