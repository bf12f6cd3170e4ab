"""Tokenizers of the kind Unigram, which take the likeliest way to cut a text into pieces.

llama.cpp has them for T5. It puts a space before each text or none, changes nothing else, and has
one token for what it doesn't know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["KIND", "numbered", "scores_of"]

KIND = "Unigram"
_SPACE = "\u2581"


def numbered(told: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer.json of this kind with its pieces by number, as those of the others are.

    Raises LoraError for one that llama.cpp would cut otherwise.
    """
    reasons = [*_reasons(told)]
    if reasons:
        raise LoraError(
            f"gguf: this tokenizer of the kind {KIND} is not exported: {'; '.join(reasons)}. Its "
            "tokens would be others."
        )
    model = told["model"]
    pieces = [piece for piece, _ in model["vocab"]]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return {**told, "model": {**model, "vocab": vocab, "unk_token": pieces[model["unk_id"]]}}


def scores_of(told: Mapping[str, Any], count: int, far: float) -> list[float]:
    """The score of each of `count` tokens; those that are no pieces get `far`."""
    scores = [float(score) for _, score in told["model"]["vocab"]]
    return [*scores, *([far] * count)][:count]


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    model = told["model"]
    if model.get("byte_fallback"):
        yield "it spells unknown characters in bytes, for which llama.cpp takes one unknown token"
    if model.get("unk_id") is None:
        yield "it has no token for what it does not know"
    if told.get("normalizer"):
        yield "it normalises each text first, which llama.cpp may do otherwise"
    cut = told.get("pre_tokenizer") or {}
    scheme = cut.get("prepend_scheme", "always")
    if cut.get("type") != "Metaspace" or cut.get("replacement", _SPACE) != _SPACE:
        yield "it does not cut at spaces as SentencePiece does"
    elif scheme not in ("always", "never"):
        yield f"it puts a space before some parts of a text only ({scheme})"
