"""The tokens of every split in figures, as they are kept in a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lora_nb.data.batches import BatchPlan, padding_waste
from lora_nb.data.doctor import examine
from lora_nb.data.findings import Finding
from lora_nb.data.lengths import Lengths
from lora_nb.data.prepare import Prepared, Progress
from lora_nb.data.sources import Splits
from lora_nb.data.templates import Origin, Template
from lora_nb.data.tokenizer import Tokenizer
from lora_nb.data.tokens import Encoded, Encoder, TokenOptions

__all__ = ["Measured", "SplitMeasure", "measure"]


class MeasureOptions(TokenOptions, Protocol):
    """The options that matter here (DataOptions has them)."""

    @property
    def batch_size(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class SplitMeasure:
    """One split in tokens.

    `lengths` is of the rows as they are, before they are cut, split or dropped; `sequences`,
    `tokens`, `trained` and `padding` (a share of all tokens in batches) are of what is trained on;
    `broken` numbers the rows that cannot be used.
    """

    rows: int
    kinds: dict[str, int]
    lengths: Lengths
    sequences: int
    tokens: int
    trained: int
    cut_rows: int
    cut_tokens: int
    skipped: int
    dropped: int
    broken: tuple[int, ...]
    padding: float
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The splits by name, all findings, and where the chat template came from."""

    splits: dict[str, SplitMeasure]
    findings: list[Finding] = field(default_factory=list)
    template: Origin = "model"

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measured:
        """The same again. Raises ValueError, KeyError or TypeError if it is nothing of the kind."""
        values = json.loads(text)
        return cls(
            splits={name: _split(each) for name, each in values["splits"].items()},
            findings=[_finding(each) for each in values["findings"]],
            template=values["template"],
        )


def _split(values: Mapping[str, Any]) -> SplitMeasure:
    counts = tuple((int(length), int(count)) for length, count in values["lengths"]["counts"])
    broken = tuple(int(number) for number in values["broken"])
    return SplitMeasure(**{**values, "lengths": Lengths(counts), "broken": broken})


def _finding(values: Mapping[str, Any]) -> Finding:
    return Finding(**{**values, "lines": tuple(values["lines"])})


def measure(
    splits: Splits,
    tokenizer: Tokenizer,
    template: Template,
    options: MeasureOptions,
    *,
    context: int | None = None,
    vocab: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Encodes every row of the used splits once, as training does, and counts."""
    encoder = _Counting(tokenizer, options, template)
    marks = {0: 0}

    def told(done: int, total: int) -> None:
        marks[done] = len(encoder.lengths)
        if progress is not None:
            progress(done, total)

    examined = examine(splits, encoder, options, context=context, vocab=vocab, progress=told)
    found: dict[str, SplitMeasure] = {}
    before = 0
    for name, rows in splits.items():
        after = before + len(rows)
        if (prepared := examined.prepared.get(name)) is not None:
            lengths = encoder.lengths[marks[before] : marks[after]]
            found[name] = _measured(prepared, lengths, len(rows), options, rows.fingerprint())
        before = after
    return Measured(splits=found, findings=examined.findings, template=template.origin)


def _measured(
    prepared: Prepared, lengths: list[int], rows: int, options: MeasureOptions, fingerprint: str
) -> SplitMeasure:
    sizes = prepared.lengths
    plan = BatchPlan(sizes, options.batch_size, 0)
    return SplitMeasure(
        rows=rows,
        kinds=dict(prepared.kinds.most_common()),
        lengths=Lengths.of(lengths),
        sequences=len(prepared),
        tokens=prepared.tokens,
        trained=prepared.trained,
        cut_rows=prepared.cut_rows,
        cut_tokens=prepared.cut_tokens,
        skipped=prepared.skipped,
        dropped=prepared.dropped,
        broken=tuple(prepared.broken),
        padding=padding_waste(sizes, plan),
        fingerprint=fingerprint,
    )


class _Counting(Encoder):
    """Notes the length of every row before it is cut, split or dropped."""

    def __init__(self, tokenizer: Tokenizer, options: TokenOptions, template: Template) -> None:
        super().__init__(tokenizer, options, template)
        self.lengths: list[int] = []

    def whole(self, row: Mapping[str, Any]) -> Encoded:
        whole = super().whole(row)
        self.lengths.append(len(whole))
        return whole
