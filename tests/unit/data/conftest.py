"""Tokenizers for the tests of the data room."""

from __future__ import annotations

from typing import Any

import pytest

from lora_nb.data.tokens import Encoder
from tests.unit.data.kit import TEMPLATES, byte_tokenizer, encoder_of, piece_tokenizer


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Any]:
    """A byte-level tokenizer for every template, `none` without one, and `pieces`."""
    made = {name: byte_tokenizer(text) for name, text in TEMPLATES.items()}
    made["none"] = byte_tokenizer(None, eos_token="<|endoftext|>")
    made["pieces"] = piece_tokenizer(TEMPLATES["mistral"])
    made["pieces-chatml"] = piece_tokenizer(TEMPLATES["chatml"])
    return made


@pytest.fixture
def tokenizer(tokenizers: dict[str, Any]) -> Any:
    return tokenizers["chatml"]


@pytest.fixture
def encoder(tokenizer: Any) -> Encoder:
    return encoder_of(tokenizer)
