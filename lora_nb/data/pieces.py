"""The text that each token of a row stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_nb.data.formats import kind_of, text_of, to_messages, tools_of
from lora_nb.data.tokenizer import Tokenizer
from lora_nb.data.tokens import Encoder

__all__ = ["pieces_of", "special_ids"]

_BACK = 6
_BROKEN = "\N{REPLACEMENT CHARACTER}"


def pieces_of(encoder: Encoder, row: Mapping[str, Any], ids: Sequence[int]) -> list[str]:
    """A piece of text for each id; together they are the text of the row as it is rendered.

    Of a character that is several tokens, the first has it and the others are empty. Tokens that
    are not in the text (such as BOS) have their names.
    """
    tokenizer = encoder.tokenizer
    plain = kind_of(row, encoder.options) == "text"
    if plain:
        text = text_of(row, encoder.options)
    else:
        messages = to_messages(row, encoder.options, encoder.roles)
        text = encoder.template.render(tokenizer, messages, tools_of(row))
    spans = _spans(tokenizer, text, ids, add_special=plain)
    if spans is None:
        return _decoded(tokenizer, ids)
    return _cut_up(tokenizer, text, ids, spans)


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids of tokens that stand for themselves, not for text: end marks, role marks and such."""
    known = set(getattr(tokenizer, "all_special_ids", None) or ())
    if (added := getattr(tokenizer, "get_added_vocab", None)) is not None:
        known |= set(added().values())
    return frozenset(int(each) for each in known)


def _spans(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], *, add_special: bool
) -> list[tuple[int, int]] | None:
    """Where in the text each of the first ids lies, if the tokenizer underneath can say so."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "encode"):
        return None
    found = backend.encode(text, add_special_tokens=add_special)
    if list(ids[: len(found.ids)]) != found.ids:
        return None
    return list(found.offsets)


def _cut_up(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], spans: list[tuple[int, int]]
) -> list[str]:
    specials = special_ids(tokenizer)
    pieces: list[str] = []
    place = 0
    for number, (start, end) in zip(ids, spans, strict=False):
        stop = max(end, place)
        if stop == place:
            # Offsets may leave out blanks, and are empty for tokens that are not in the text.
            own = tokenizer.decode([number])
            if own and text.startswith(own, place):
                stop += len(own)
            elif start == end and number in specials:
                pieces.append(_name(tokenizer, number))
                continue
        pieces.append(text[place:stop])
        place = stop
    if pieces and place < len(text):
        pieces[-1] += text[place:]
    return pieces + [_name(tokenizer, number) for number in ids[len(pieces) :]]


def _name(tokenizer: Tokenizer, number: int) -> str:
    return str(tokenizer.convert_ids_to_tokens([number])[0])


def _decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token adds to the few before it."""
    pieces = []
    for place, number in enumerate(ids):
        near = list(ids[max(0, place - _BACK) : place])
        before = tokenizer.decode(near) if near else ""
        after = tokenizer.decode([*near, number])
        piece = after[len(before) :] if after.startswith(before) else tokenizer.decode([number])
        pieces.append(piece.replace(_BROKEN, ""))
    return pieces
