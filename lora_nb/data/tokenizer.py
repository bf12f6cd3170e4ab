"""What this room asks of a tokenizer."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Tokenizer", "eos_ids", "id_of"]


class Tokenizer(Protocol):
    """A Hugging Face tokenizer, or a wrapper that forwards to one."""

    @property
    def eos_token_id(self) -> int | None: ...
    @property
    def eos_token(self) -> str | None: ...
    @property
    def bos_token(self) -> str | None: ...
    @property
    def chat_template(self) -> Any: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...
    def decode(self, token_ids: list[int]) -> str: ...
    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]: ...
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...
    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any: ...


def eos_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Every token id that ends an answer: the model's whole set where the wrapper knows it."""
    known = getattr(tokenizer, "eos_token_ids", None)
    ids: set[int] = {known} if isinstance(known, int) else set(known or ())
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(int(i) for i in ids)


def id_of(tokenizer: Tokenizer, token: str) -> int | None:
    """The id of a token that the vocabulary holds as one piece, else None."""
    ids = list(tokenizer.encode(token, add_special_tokens=False))
    if len(ids) != 1 or tokenizer.decode(ids).strip() != token:
        return None
    return int(ids[0])
