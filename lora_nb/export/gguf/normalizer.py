"""What a tokenizer does to a text before it merges, of which llama.cpp does next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["check_steps", "parts"]

_SPACE = "\u2581"
_COMPOSES = (
    "This tokenizer composes characters first (NFC), which llama.cpp does not: accents that stand "
    "apart from their letters get other tokens there."
)


def check_steps(told: Mapping[str, Any], *, byte_level: bool) -> str:
    """What to say about it: nothing if llama.cpp does the same.

    `told` is the content of a tokenizer.json that merges pairs. Raises LoraError if many texts
    would get other tokens.
    """
    model = told["model"]
    reasons = [
        f"it marks the parts of words ({key})"
        for key in ("continuing_subword_prefix", "end_of_word_suffix")
        if model.get(key)
    ]
    steps = parts(told.get("normalizer"))
    changing = [step for step in steps if step.get("type") != "NFC"]
    reasons += [
        f"it changes each text first ({step.get('type')})"
        for step in changing
        if byte_level or not _is_of_pieces(step)
    ]
    if not byte_level:
        reasons += _cuts(told)
    if reasons:
        raise LoraError(
            f"gguf: this tokenizer is not exported: {'; '.join(reasons)}, which llama.cpp does "
            "not. Its tokens would be others."
        )
    return _COMPOSES if len(changing) < len(steps) else ""


def _is_of_pieces(step: Mapping[str, Any]) -> bool:
    """Whether a step is what SentencePiece does: a space in front, and its sign for spaces."""
    if step.get("type") == "Prepend":
        return step.get("prepend") == _SPACE
    spaces = step.get("pattern") == {"String": " "} and step.get("content") == _SPACE
    return step.get("type") == "Replace" and spaces


def _cuts(told: Mapping[str, Any]) -> Iterator[str]:
    for step in parts(told.get("pre_tokenizer")):
        # Gemma's cuts at spaces, of which none are left by then.
        at_spaces = step.get("type") == "Split" and step.get("pattern") == {"String": " "}
        if step.get("type") != "Metaspace" and not at_spaces:
            yield f"it cuts texts before it merges ({step.get('type')})"


def parts(part: Any) -> list[Mapping[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder."""
    if not isinstance(part, Mapping):
        return []
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in part:
            return [step for inner in part[key] for step in parts(inner)]
    return [part]
