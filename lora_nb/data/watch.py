"""What is odd about single rows, noted while a split is read: repeats, order, tokens, leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.findings import Ledger
from lora_nb.data.formats import Kind, kind_of, text_of, to_messages, tools_of
from lora_nb.data.keys import Content, exact_key, near_key
from lora_nb.data.messages import empty_part, order_fault
from lora_nb.data.pieces import pieces_of
from lora_nb.data.rows import Rows
from lora_nb.data.tokens import Encoded, Encoder

__all__ = ["Watch"]


class Watch:
    """Looks at every usable row of one split on its way."""

    def __init__(
        self,
        rows: Rows,
        encoder: Encoder,
        ledger: Ledger,
        context: int | None,
        vocab: int | None,
    ) -> None:
        self.rows = rows
        # The first row of each content, and further ones that are nearly the same.
        self._first: dict[int, int] = {}
        self._further: dict[int, dict[bytes, int]] = {}
        self._encoder = encoder
        self._ledger = ledger
        self._context = context
        self._vocab = vocab
        self._tools_checked = False
        self._unknown = _unknown_id(encoder)

    def __call__(self, number: int, row: Mapping[str, Any], parts: list[Encoded]) -> None:
        encoder = self._encoder
        kind = kind_of(row, encoder.options)
        content = self._content(row, kind)
        self._repeated(number, content, row.get("tools"))
        if (empty := empty_part(content, kind)) and (not parts or any(p.targets for p in parts)):
            # A row without a target is noted elsewhere.
            self._note("empty", f"{empty} is empty.", "Fill it in, or leave the row out.", number)
        if not isinstance(content, str):
            messages = [*content]
            self._talk(number, messages)
            if not self._tools_checked and tools_of(row):
                self._tools_checked = True
                self._tools(number, row, messages)
        for part in parts:
            self._tokens(number, row, part)
        if parts:
            self._end(number, parts[-1])

    def _note(self, code: str, message: str, remedy: str, number: int, value: str = "") -> None:
        self._ledger.add(
            "warning", code, message, remedy,
            where=self.rows.where(number), value=value, split=self.rows.name,
        )  # fmt: skip

    def _repeated(self, number: int, content: Content, tools: object) -> None:
        """Exact keys cost more than near ones, so they are only made where the latter agree."""
        near = near_key(content, tools)
        first = self._first.setdefault(near, number)
        if first == number:
            return
        group = self._group(near)
        same = group.setdefault(exact_key(content, tools), number)
        if same != number:
            self._note(
                "duplicate", f"the row is the same as {self.rows.where(same)}.",
                "Leave repeated rows out, unless they should weigh more.", number,
            )  # fmt: skip
            return
        self._ledger.add(
            "info", "near_duplicate",
            f"the row is nearly the same as {self.rows.where(first)}: only letter case, blanks "
            "or punctuation differ.",
            "Leave one of them out, unless the difference matters.",
            where=self.rows.where(number), split=self.rows.name,
        )  # fmt: skip

    def _group(self, near: int) -> dict[bytes, int]:
        """Rows of different content with the same near key, by their exact keys."""
        if near not in self._further:
            first = self._first[near]
            row = self.rows.row(first)
            content = self._content(row, kind_of(row, self._encoder.options))
            self._further[near] = {exact_key(content, row.get("tools")): first}
        return self._further[near]

    def _content(self, row: Mapping[str, Any], kind: Kind) -> Content:
        options = self._encoder.options
        if kind == "text":
            return text_of(row, options)
        return to_messages(row, options, self._encoder.roles)

    def note_leaks(self, other: str, theirs: Watch) -> None:
        """Notes the rows that are in another split too, or nearly so."""
        for near in self._first:
            if near not in theirs._first:
                continue
            there = theirs._group(near)
            for exact, row in self._group(near).items():
                if exact in there:
                    self._note(
                        f"leak_{other}",
                        f"the row is also in {other} ({theirs.rows.where(there[exact])}).",
                        "Take it out of one of them, else the result looks better than it is.", row,
                    )  # fmt: skip
                else:
                    self._note(
                        f"near_leak_{other}",
                        "the row is nearly the same as one in "
                        f"{other} ({theirs.rows.where(theirs._first[near])}): "
                        "only letter case, blanks or punctuation differ.",
                        "Take it out of one of them, unless the difference matters.", row,
                    )  # fmt: skip

    def _talk(self, number: int, messages: list[dict[str, Any]]) -> None:
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

    def _tokens(self, number: int, row: Mapping[str, Any], part: Encoded) -> None:
        if not len(part):
            return
        if self._unknown is not None and (unknown := part.ids == self._unknown).any():
            self._unknown_words(number, row, part, unknown)
        if self._vocab is not None and (high := int(part.ids.max())) >= self._vocab:
            self._ledger.add(
                "error", "vocab",
                f"token {high} is outside the model's vocabulary of {self._vocab}.",
                "The tokenizer has more tokens than the model: use the tokenizer that "
                "belongs to it.",
                where=self.rows.where(number), value=str(high), split=self.rows.name,
            )  # fmt: skip
        if self._context is not None and len(part) > self._context:
            self._note(
                "context",
                f"the row has {len(part)} tokens, but the model was made for {self._context}.",
                f"Set --max-seq-length {self._context} or less.", number, str(len(part)),
            )  # fmt: skip

    def _unknown_words(
        self, number: int, row: Mapping[str, Any], part: Encoded, unknown: NDArray[np.bool_]
    ) -> None:
        value = ""
        if not self._ledger.has("unknown", self.rows.name):
            pieces = pieces_of(self._encoder, row, part.ids.tolist())
            value = shorten("".join(_marked(pieces, unknown)))
        self._note(
            "unknown", f"{int(unknown.sum())} of {len(part)} tokens are unknown to the tokenizer.",
            "The model cannot tell such characters apart: write them otherwise, or use a model "
            "that knows them.", number, value,
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


def _unknown_id(encoder: Encoder) -> int | None:
    """The token for what the tokenizer does not know; some tokenizers name one that is none."""
    tokenizer = encoder.tokenizer
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)
    others = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "pad")}
    return None if unknown in others | encoder.ends else unknown


def _marked(pieces: list[str], unknown: NDArray[np.bool_]) -> Iterator[str]:
    """The texts of unknown tokens, and a sign for those in between."""
    before = False
    for piece, marked in zip(pieces, unknown.tolist(), strict=False):
        if marked:
            yield piece
        elif before:
            yield " … "
        before = marked
