"""Everything that is wrong with the data, found in one pass before a run starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lora_nb.data.findings import Finding, Ledger, raise_errors
from lora_nb.data.prepare import Prepared, Progress, scan
from lora_nb.data.rows import Rows
from lora_nb.data.sources import Splits
from lora_nb.data.tokens import Encoder
from lora_nb.data.watch import Watch

__all__ = ["Examined", "Sized", "check", "examine", "raise_errors"]


class Sized(Protocol):
    """The one option the doctor needs beside the encoder's."""

    @property
    def batch_size(self) -> int: ...


@dataclass
class Examined:
    """The prepared splits by name, and all findings, errors first."""

    prepared: dict[str, Prepared] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def check(
    splits: Splits,
    encoder: Encoder,
    options: Sized,
    *,
    context: int | None = None,
    vocab: int | None = None,
) -> list[Finding]:
    """All findings; see `examine`."""
    return examine(splits, encoder, options, context=context, vocab=vocab).findings


def examine(
    splits: Splits,
    encoder: Encoder,
    options: Sized,
    *,
    context: int | None = None,
    vocab: int | None = None,
    progress: Progress | None = None,
) -> Examined:
    """Encodes every split once and notes all that is wrong or odd.

    `context` is the model's longest sequence, `vocab` the number of rows of its embedding.
    A split that is not used by the run is only read, not encoded, and gives warnings.
    `progress` counts over all splits. Nothing is raised: see `raise_errors`.
    """
    ledger = Ledger()
    done = Examined()
    seen: dict[str, Watch] = {}
    total = sum(len(rows) for _, rows in splits.items())
    before = 0
    for name, rows in splits.items():
        used = name in splits.used
        watch = Watch(rows, encoder, ledger, context, vocab)
        step = None if progress is None else _shifted(progress, before, total)
        prepared = scan(
            rows, encoder, ledger, used=used, needed=name in splits.needed,
            watch=watch, progress=step,
        )  # fmt: skip
        before += len(rows)
        if used:
            done.prepared[name] = prepared
            _note_split(rows, prepared, ledger, options.batch_size)
        for other, theirs in seen.items():
            watch.note_leaks(other, theirs)
        seen[name] = watch
    for name, reason in splits.unreadable.items():
        ledger.add("warning", "unreadable", reason, "It is not used in this run.", split=name)
    _note_template(done, encoder, ledger)
    done.findings = ledger.findings()
    for name, prepared in done.prepared.items():
        prepared.findings = [each for each in done.findings if each.split == name]
    return done


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda count, _: progress(before + count, total)


def _note_split(rows: Rows, prepared: Prepared, ledger: Ledger, batch_size: int) -> None:
    count = len(prepared.encoded)
    if 0 < count < batch_size:
        ledger.add(
            "info", "few_rows", f"{_rows(count)}, fewer than a batch of {batch_size}.",
            "They are all used, in one smaller batch.", where=rows.name, split=rows.name,
        )  # fmt: skip
    if len(prepared.kinds) > 1:
        parts = ", ".join(f"{n} {kind}" for kind, n in prepared.kinds.most_common())
        ledger.add(
            "info", "mixed", f"rows of several formats are mixed: {parts}.",
            "Each is read in its own format.", where=rows.name, split=rows.name,
        )  # fmt: skip


def _rows(count: int) -> str:
    return "there is 1 row" if count == 1 else f"there are {count} rows"


def _note_template(done: Examined, encoder: Encoder, ledger: Ledger) -> None:
    chats = sum(
        count
        for prepared in done.prepared.values()
        for kind, count in prepared.kinds.items()
        if kind != "text"
    )
    if chats and encoder.template.origin == "chatml":
        ledger.add(
            "warning", "no_template", "the model has no chat template; ChatML is used.",
            "Generate with the same template, or give another with --chat-template.", count=chats,
        )  # fmt: skip
    if not encoder.ends:
        ledger.add(
            "warning", "no_eos", "the tokenizer has no end-of-sequence token.",
            "The model cannot learn to stop.",
        )  # fmt: skip
