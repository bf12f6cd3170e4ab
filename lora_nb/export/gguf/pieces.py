"""Scores of pieces as SentencePiece has them, by which llama.cpp merges characters to tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["FAR", "merges_of", "piece_scores"]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
FAR = -1e6
"""The score of a token that text is never cut into."""
_INCOMPLETE = (
    "This tokenizer does not merge all pairs that make a token, which llama.cpp does for "
    "tokenizers of this kind: some texts may get other tokens there."
)


def merges_of(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a tokenizer.json, the first ones first."""
    pairs = []
    for merge in told["model"]["merges"]:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        pairs.append((left, right))
    return pairs


def piece_scores(
    folder: Path, told: Mapping[str, Any], tokens: list[str]
) -> tuple[list[float], str]:
    """The score of each token, and what to say about them: nothing if they are surely right.

    It is that of tokenizer.model, else it is made of the place of the token's first merge.
    """
    merges = merges_of(told)
    rank: dict[str, int] = {}
    for place, pair in enumerate(merges):
        rank.setdefault("".join(pair), place)
    pieces = _pieces(folder / "tokenizer.model", tokens)
    if pieces and _same_order(pieces, rank):
        return [pieces.get(token, FAR) for token in tokens], ""
    complete = _is_complete(told["model"]["vocab"], set(merges))
    scores = [-float(rank[token]) if token in rank else FAR for token in tokens]
    return scores, "" if complete else _INCOMPLETE


def _pieces(path: Path, tokens: list[str]) -> dict[str, float]:
    """The pieces of a tokenizer.model with their scores; none if it is another vocabulary's."""
    if not path.is_file():
        return {}
    import sentencepiece

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):
        return {}
    count = min(model.get_piece_size(), len(tokens))
    same = sum(model.id_to_piece(number) == tokens[number] for number in range(count))
    if same < 0.9 * count:
        return {}
    return {model.id_to_piece(n): float(model.get_score(n)) for n in range(count)}


def _same_order(pieces: Mapping[str, float], rank: Mapping[str, int]) -> bool:
    """Whether scores fall in the order of the merges, as those of merged pairs do."""
    scores = [pieces[token] for token in sorted(rank, key=rank.__getitem__) if token in pieces]
    return all(one >= other for one, other in pairwise(scores))


def _is_complete(vocabulary: Mapping[str, int], merges: set[tuple[str, str]]) -> bool:
    """Whether each way to put a token together from two others is a merge."""
    for left_right in vocabulary:
        if _BYTE.fullmatch(left_right):
            continue
        for cut in range(1, len(left_right)):
            pair = left_right[:cut], left_right[cut:]
            if pair[0] in vocabulary and pair[1] in vocabulary and pair not in merges:
                return False
    return True
