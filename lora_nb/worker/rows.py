"""Rows to look at models with: those of an adapter's training, of a data set, or fixed prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mlx_lm.tokenizer_utils import TokenizerWrapper

from lora_nb.config import DataOptions, TestConfig, TrainConfig
from lora_nb.core.load import find_model
from lora_nb.core.model_files import read_json
from lora_nb.core.model_key import model_key
from lora_nb.data.faults import RowError
from lora_nb.data.rows import Rows
from lora_nb.data.sources import open_splits
from lora_nb.data.templates import Template
from lora_nb.data.tokens import Encoded, Encoder
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import ADAPTER_CONFIG, base_of, template_of
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.places import seen_from

__all__ = [
    "SomeRows",
    "check_base",
    "data_options",
    "find_base",
    "fixed_prompts",
    "read_some",
    "template_for",
]

_PROMPTS = (
    "How are you?",
    "Write one sentence about the sea.",
    "What is 12 + 30?",
    "Name three colours.",
    "Translate into French: good morning.",
    "Write a SQL query that counts the rows of the table users.",
)


@dataclass
class SomeRows:
    """A few rows: as they are, encoded, and the place of each. `source` says whence, in words."""

    source: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    encoded: list[Encoded] = field(default_factory=list)
    where: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.encoded)


def data_options(model: str, data: str | None, run: RunFolder | None) -> TestConfig | None:
    """How rows are read and encoded: as in the run, with other rows if `data` names some.

    None if there is neither a run nor data.
    """
    config = run.config if run is not None else None
    if run is None or not isinstance(config, TrainConfig):
        return TestConfig(model=model, data=data) if data else None
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(DataOptions)}
    if data:
        values |= {"data": data, "hf_dataset": None, "split": None}
    else:
        values["data"] = seen_from(run, config.data)
    return TestConfig(model=model, **values)


def template_for(given: str | None, adapter: Path, run: RunFolder | None) -> str | None:
    """The file of the chat template: the one that is given, else that of the training.

    The adapter's own copy comes first: it is what was trained with, wherever the adapter lies.
    """
    found = given or template_of(adapter)
    if found or run is None:
        return found
    named = getattr(run.config, "chat_template", None)
    return seen_from(run, named) if named else None


def find_base(name: str, adapter: Path) -> Path:
    """The folder of an adapter's base model. Raises LoraError that says who has named it."""
    try:
        return find_model(name)
    except LoraError as problem:
        if base_of(adapter) != name:
            raise
        raise LoraError(
            f"{problem} It is the base model that the adapter in {adapter} names; if you have it "
            "elsewhere, give its folder with --model."
        ) from None


def check_base(adapter: Path, folder: Path, name: str, warn: Callable[[str], None]) -> None:
    """Warn if an adapter was trained on other weights than those in a folder."""
    trained_on = read_json(adapter / ADAPTER_CONFIG, of="adapter").get("base_sha256")
    if trained_on is not None and trained_on != model_key(folder):
        warn(
            f"The adapter in {adapter} was trained on other weights than those of {name}. Unless "
            "these are the same model in another form (quantised, say), the result is worthless."
        )


def read_some(
    options: TestConfig, encoder: Encoder, splits: Sequence[str], count: int, *, spread: bool
) -> SomeRows:
    """At most `count` rows of the first of these splits that has any; broken ones are left out.

    The first rows, or with `spread` rows at even distances. Raises LoraError if there are none.
    """
    there = dict(open_splits(options, []).items())
    name = next((name for name in splits if name in there and len(there[name])), None)
    if name is None:
        wanted = " or ".join(splits)
        raise LoraError(f"data: '{options.data}' has no {wanted} rows.")
    found = SomeRows(f"{name} rows")
    rows = there[name]
    for number in _numbers(len(rows), count, spread):
        _take(found, rows, number, encoder)
        if len(found) == count:
            break
    if not len(found):
        raise LoraError(f"data: no {name} row of '{options.data}' can be used.")
    return found


def _numbers(total: int, count: int, spread: bool) -> Sequence[int]:
    if not spread or count >= total:
        return range(total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _take(found: SomeRows, rows: Rows, number: int, encoder: Encoder) -> None:
    try:
        row = rows.row(number)
        parts = [part for part in encoder.encode(row, rows.where(number)) if part.targets]
    except RowError:
        return
    if parts:
        found.rows.append(row)
        found.encoded.append(parts[0])
        found.where.append(rows.where(number))


def fixed_prompts(tokenizer: TokenizerWrapper, template: Template) -> SomeRows:
    """A handful of prompts as the model is asked them; each of their tokens counts."""
    found = SomeRows("fixed prompts")
    for number, prompt in enumerate(_PROMPTS, start=1):
        message = {"role": "user", "content": prompt}
        ids = np.array(template.tokens(tokenizer, [message], prompt=True), np.int32)
        trained = np.ones(len(ids), np.bool_)
        trained[0] = False
        found.rows.append({"prompt": prompt})
        found.encoded.append(Encoded(ids, trained, "chat"))
        found.where.append(f"prompt {number}")
    return found
