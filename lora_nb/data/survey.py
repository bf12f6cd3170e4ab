"""A look at rows without a tokenizer: formats, keys, sizes, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lora_nb.data.doctor import examine
from lora_nb.data.faults import RowError
from lora_nb.data.findings import Finding
from lora_nb.data.formats import Features, Kind, kind_of
from lora_nb.data.lengths import Lengths
from lora_nb.data.rows import Rows
from lora_nb.data.sources import SourceOptions, Splits, open_splits
from lora_nb.data.templates import Template
from lora_nb.data.tokens import Encoded, Encoder, TokenOptions
from lora_nb.errors import LoraError

__all__ = ["ALL", "SAMPLE", "Shape", "Survey", "open_all", "survey"]

ALL = 20_000
"""Up to so many rows of a split, every one is looked at."""
SAMPLE = 4_000
"""How many are looked at if there are more, spread evenly."""

# What can only be said of a tokenizer.
_OF_TOKENS = {"no_template", "no_eos"}


class SurveyOptions(SourceOptions, TokenOptions, Protocol):
    """The options that matter here (DataOptions has them)."""

    @property
    def batch_size(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The rows of one split, `seen` of which were looked at.

    `kinds` and `keys` count rows; `characters` is the text of each row that can be used.
    """

    rows: int
    seen: int
    kinds: dict[str, int]
    keys: dict[str, int]
    characters: Lengths


@dataclass
class Survey:
    """The shape of every split by name, and what is wrong with the rows that were looked at."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def open_all(options: SourceOptions) -> Splits:
    """Every split that the named data has; each counts as used, none must hold rows.

    Raises LoraError if there is none.
    """
    single = not options.hf_dataset and Path(options.data).expanduser().is_file()
    splits = open_splits(options, ["train"] if single else [])
    names = frozenset(name for name, _ in splits.items())
    if not names:
        why = " ".join(splits.unreadable.values())
        raise LoraError(
            why or f"Data '{options.data}' has none of train.jsonl, valid.jsonl and test.jsonl."
        )
    splits.used, splits.needed = names, frozenset()
    return splits


def survey(
    splits: Splits, options: SurveyOptions, *, most: int = ALL, sample: int = SAMPLE
) -> Survey:
    """Looks at every split; of one with more than `most` rows, at `sample` of them."""
    looked = {name: _Looked(rows, options, most, sample) for name, rows in splits.items()}
    parts = Splits(
        **looked, needed=splits.needed, used=splits.used, unreadable=splits.unreadable
    )  # fmt: skip
    found = examine(parts, _Reader(options), options).findings
    partial = [_partial(each) for each in looked.values() if len(each) < each.rows]
    return Survey(
        {name: rows.shape() for name, rows in looked.items()},
        [*(each for each in found if each.code not in _OF_TOKENS), *partial],
    )


def _partial(looked: _Looked) -> Finding:
    return Finding(
        "info", "sample", len(looked), looked.name, "",
        f"{len(looked):,} of {looked.rows:,} rows were looked at, spread evenly.",
        "Name a model to have every row checked.", split=looked.name,
    )  # fmt: skip


class _Looked(Rows):
    """Some rows of a split, which are described as they are read."""

    def __init__(self, rows: Rows, options: Features, most: int, sample: int) -> None:
        self.name = rows.name
        self.rows = len(rows)
        self._rows = rows
        self._options = options
        count = self.rows if self.rows <= most else sample
        self._numbers = np.linspace(0, max(0, self.rows - 1), count).astype(np.int64)
        self._kinds: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._sizes: list[int] = []
        self._described = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def where(self, index: int) -> str:
        return self._rows.where(int(self._numbers[index]))

    def row(self, index: int) -> dict[str, Any]:
        row = self._rows.row(int(self._numbers[index]))
        if index < self._described:
            # Read again, to compare it with another one.
            return row
        self._described = index + 1
        self._keys.update(map(str, row))
        try:
            kind = kind_of(row, self._options)
        except RowError:
            return row
        self._kinds[kind] += 1
        self._sizes.append(_characters(row, kind, self._options))
        return row

    def shape(self) -> Shape:
        return Shape(
            rows=self.rows,
            seen=len(self),
            kinds=dict(self._kinds.most_common()),
            keys=dict(self._keys.most_common()),
            characters=Lengths.of(self._sizes),
        )


def _characters(row: Mapping[str, Any], kind: Kind, options: Features) -> int:
    if kind == "text":
        return _text(row[options.text_feature])
    if kind == "completions":
        return _text(row[options.prompt_feature]) + _text(row[options.completion_feature])
    messages = row[options.chat_feature]
    if not isinstance(messages, Sequence):
        return 0
    return sum(_text(each.get("content")) for each in messages if isinstance(each, Mapping))


def _text(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_text(part.get("text")) for part in value if isinstance(part, Mapping))
    return 0


class _Reader(Encoder):
    """An encoder that checks rows and makes no tokens of them."""

    def __init__(self, options: TokenOptions) -> None:
        super().__init__(_NoTokenizer(), options, Template("", "chatml"))
        ids, trained = np.zeros(2, np.int32), np.array([False, True])
        kinds: tuple[Kind, ...] = ("chat", "completions", "text")
        self._stand_ins = {kind: [Encoded(ids, trained, kind)] for kind in kinds}

    def encode(self, row: Mapping[str, Any], where: str = "") -> list[Encoded]:
        self.look(row, where)
        return self._stand_ins[kind_of(row, self.options)]


class _NoTokenizer:
    eos_token_id: int | None = None
    eos_token: str | None = None
    bos_token: str | None = None
    chat_template: Any = None

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        raise NotImplementedError

    def decode(self, token_ids: list[int]) -> str:
        raise NotImplementedError

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        raise NotImplementedError

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        raise NotImplementedError

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any:
        raise NotImplementedError
