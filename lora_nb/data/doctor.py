"""Everything that is wrong with the data, found in one pass before a run starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.findings import Finding, Ledger, raise_errors
from lora_nb.data.formats import kind_of, text_of, to_messages, tools_of
from lora_nb.data.messages import order_fault
from lora_nb.data.prepare import Prepared, Progress, scan
from lora_nb.data.rows import Rows
from lora_nb.data.sources import Splits
from lora_nb.data.tokens import Encoded, Encoder

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
    seen: dict[str, dict[bytes, int]] = {}
    total = sum(len(rows) for _, rows in splits.items())
    before = 0
    for name, rows in splits.items():
        used = name in splits.used
        watch = _Watch(rows, encoder, ledger, context, vocab)
        step = None if progress is None else _shifted(progress, before, total)
        prepared = scan(
            rows, encoder, ledger, used=used, needed=name in splits.needed,
            watch=watch, progress=step,
        )  # fmt: skip
        before += len(rows)
        if used:
            done.prepared[name] = prepared
            _note_split(rows, prepared, ledger, options.batch_size)
        _note_leaks(splits, name, watch.keys, seen, ledger)
        seen[name] = watch.keys
    for name, reason in splits.unreadable.items():
        ledger.add("warning", "unreadable", reason, "It is not used in this run.", split=name)
    _note_template(done, encoder, ledger)
    done.findings = ledger.findings()
    for name, prepared in done.prepared.items():
        prepared.findings = [each for each in done.findings if each.split == name]
    return done


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda count, _: progress(before + count, total)


class _Watch:
    """Looks at every usable row of one split on its way."""

    def __init__(
        self,
        rows: Rows,
        encoder: Encoder,
        ledger: Ledger,
        context: int | None,
        vocab: int | None,
    ) -> None:
        self.keys: dict[bytes, int] = {}
        self._rows = rows
        self._encoder = encoder
        self._ledger = ledger
        self._context = context
        self._vocab = vocab
        self._tools_checked = False

    def __call__(self, number: int, row: Mapping[str, Any], parts: list[Encoded]) -> None:
        encoder = self._encoder
        kind = kind_of(row, encoder.options)
        messages = [] if kind == "text" else to_messages(row, encoder.options, encoder.roles)
        content: object = messages or text_of(row, encoder.options)
        self._repeated(number, [content, row.get("tools")])
        if messages:
            self._talk(number, messages, kind)
            if not self._tools_checked and tools_of(row):
                self._tools_checked = True
                self._tools(number, row, messages)
        for part in parts:
            self._tokens(number, part)
        if parts:
            self._end(number, parts[-1])

    def _note(self, code: str, message: str, remedy: str, number: int, value: str = "") -> None:
        self._ledger.add(
            "warning", code, message, remedy,
            where=self._rows.where(number), value=value, split=self._rows.name,
        )  # fmt: skip

    def _repeated(self, number: int, content: object) -> None:
        text = json.dumps(content, sort_keys=True, default=str)
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        first = self.keys.setdefault(key, number)
        if first != number:
            self._note(
                "duplicate", f"the row is the same as {self._rows.where(first)}.",
                "Leave repeated rows out, unless they should weigh more.", number,
            )  # fmt: skip

    def _talk(self, number: int, messages: list[dict[str, Any]], kind: str) -> None:
        for place, message in enumerate(messages):
            if message.get("content", None) == "" and not message.get("tool_calls"):
                name = f"message {place + 1}"
                if kind == "completions":
                    name = "the completion" if place else "the prompt"
                self._note(
                    "empty", f"{name} is empty.", "Fill it in, or leave the row out.", number, "''"
                )
                break
        fault = order_fault(messages)
        if fault:
            roles = shorten(", ".join(str(each["role"]) for each in messages))
            self._note("order", f"{fault}.", "Check the order of the messages.", number, roles)

    def _tools(self, number: int, row: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
        """Once per split: does the template show tools to the model at all?"""
        encoder = self._encoder
        try:
            with_tools = encoder.template.render(encoder.tokenizer, messages, tools_of(row))
            without = encoder.template.render(encoder.tokenizer, messages)
        except RowError:
            return
        if with_tools == without:
            self._note(
                "tools", "the row has tools, but the chat template does not show them.",
                "Use a model whose template knows tools, or give one with --chat-template.", number,
            )  # fmt: skip

    def _tokens(self, number: int, part: Encoded) -> None:
        if not len(part):
            return
        if self._vocab is not None and (high := int(part.ids.max())) >= self._vocab:
            self._ledger.add(
                "error", "vocab",
                f"token {high} is outside the model's vocabulary of {self._vocab}.",
                "The tokenizer has more tokens than the model: use the tokenizer that "
                "belongs to it.",
                where=self._rows.where(number), value=str(high), split=self._rows.name,
            )  # fmt: skip
        if self._context is not None and len(part) > self._context:
            self._note(
                "context",
                f"the row has {len(part)} tokens, but the model was made for {self._context}.",
                f"Set --max-seq-length {self._context} or less.", number, str(len(part)),
            )  # fmt: skip

    def _end(self, number: int, part: Encoded) -> None:
        if not part.cut and self._encoder.ends and part.trained.any():
            last = part.ids[part.trained][-4:].tolist()
            if not self._encoder.ends.intersection(last):
                self._note(
                    "no_end", "the row does not end with an end-of-sequence token.",
                    "A model trained on it may not learn to stop; check the chat template.",
                    number, shorten(self._encoder.tokenizer.decode(last)),
                )  # fmt: skip


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


def _note_leaks(
    splits: Splits,
    name: str,
    keys: dict[bytes, int],
    seen: dict[str, dict[bytes, int]],
    ledger: Ledger,
) -> None:
    here = dict(splits.items())[name]
    for other, theirs in seen.items():
        there = dict(splits.items())[other]
        for key in (each for each in keys if each in theirs):
            ledger.add(
                "warning",
                f"leak_{other}",
                f"the row is also in {other} ({there.where(theirs[key])}).",
                "Take it out of one of them, else the result looks better than it is.",
                where=here.where(keys[key]), split=name,
            )  # fmt: skip


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
