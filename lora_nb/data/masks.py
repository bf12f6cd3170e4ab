"""One row as training sees it: every token with its text, and whether it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.faults import RowError
from lora_nb.data.formats import Kind
from lora_nb.data.pieces import pieces_of, special_ids
from lora_nb.data.templates import Origin
from lora_nb.data.tokens import Encoded, Encoder, Target

__all__ = ["MaskedRow", "State", "Token", "mask_of"]

State = Literal["trained", "masked", "cut"]


@dataclass(frozen=True)
class Token:
    """A token: its id, the text it stands for, and what training does with it."""

    id: int
    text: str
    state: State
    special: bool = False


@dataclass(frozen=True, kw_only=True)
class MaskedRow:
    """The tokens of a row in order; `starts` are those at which a further sequence begins.

    `note` says why nothing of the row is trained, or is empty.
    """

    where: str
    kind: Kind
    target: Target
    template: Origin
    limit: int
    tokens: tuple[Token, ...]
    starts: tuple[int, ...] = ()
    note: str = ""

    def count(self, state: State) -> int:
        """How many tokens are in a state."""
        return sum(token.state == state for token in self.tokens)

    def to_json(self) -> dict[str, Any]:
        """Values that JSON knows."""
        tokens = [[token.id, token.text, token.state, token.special] for token in self.tokens]
        return {**vars(self), "tokens": tokens, "starts": list(self.starts)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MaskedRow:
        """The same row again."""
        tokens = tuple(Token(*token) for token in values["tokens"])
        return cls(**{**values, "tokens": tokens, "starts": tuple(values["starts"])})


def mask_of(encoder: Encoder, row: Mapping[str, Any], where: str = "") -> MaskedRow:
    """A row with the mask that training gives it. Raises RowError if it cannot be used."""
    note = ""
    try:
        parts = encoder.encode(row, where)
    except RowError as error:
        if error.code != "long":
            raise
        parts, note = [], error.message
    whole = encoder.whole(row)
    covered, trained, starts = _lay_out(parts, len(whole))
    ids = [int(number) for number in whole.ids]
    specials = special_ids(encoder.tokenizer)
    if not parts and not note:
        note = "the row is longer than --max-seq-length and left out."
    elif parts and not trained.any():
        note = "the row has no token to train on and is left out."
    return MaskedRow(
        where=where,
        kind=whole.kind,
        target=encoder.target,
        template=encoder.template.origin,
        limit=encoder.options.max_seq_length,
        tokens=tuple(
            Token(number, text, _state(bool(inside), bool(taught)), number in specials)
            for number, text, inside, taught in zip(
                ids, pieces_of(encoder, row, ids), covered, trained, strict=True
            )
        ),
        starts=starts,
        note=note,
    )


def _state(inside: bool, taught: bool) -> State:
    if not inside:
        return "cut"
    return "trained" if taught else "masked"


def _lay_out(
    parts: list[Encoded], size: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[int, ...]]:
    """Which tokens of the whole row lie in a sequence, which are trained, and where each begins.

    Each sequence after the first begins with the last token of the one before it.
    """
    covered, trained = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    starts: list[int] = []
    place = 0
    for part in parts:
        covered[place : place + len(part)] = True
        trained[place : place + len(part)] |= part.trained
        starts.append(place + 1)
        place += len(part) - 1
    return covered, trained, tuple(starts[1:])
