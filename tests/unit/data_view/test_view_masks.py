"""The mask that is shown is the mask that is trained, token by token."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lora_nb.data.faults import RowError
from lora_nb.data.masks import MaskedRow, mask_of
from lora_nb.data.pieces import special_ids
from lora_nb.data.tokens import Encoder
from tests.unit.data.kit import TEMPLATES, encoder_of

TALK = [
    {"role": "user", "content": "What is the capital\tof Spain?\n\nSay it: naïve 🙂"},
    {"role": "assistant", "content": "  It is Madrid. 日本語 "},
    {"role": "user", "content": "Thanks"},
    {"role": "assistant", "content": "hello"},
]
ROWS: dict[str, dict[str, Any]] = {
    "chat": {"messages": TALK},
    "short chat": {"messages": TALK[:2]},
    "completions": {"prompt": "The capital of France?\n", "completion": " Paris 🙃"},
    "empty completion": {"prompt": "The capital of France?", "completion": ""},
    "text": {"text": "Größe, naïve 日本語\n\n text\u202e "},
    "empty text": {"text": ""},
}
TARGETS = ["all", "completions", "assistant"]


def _trained(row: MaskedRow) -> list[bool]:
    return [token.state == "trained" for token in row.tokens]


def _rendered(encoder: Encoder, row: dict[str, Any]) -> str:
    messages = row.get("messages") or [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["completion"]},
    ]
    return encoder.template.render(encoder.tokenizer, messages)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [*TEMPLATES, "none", "pieces", "pieces-chatml"])
@pytest.mark.parametrize("kind", ROWS)
def test_the_mask_is_the_encoders(
    kind: str, name: str, target: str, tokenizers: dict[str, Any]
) -> None:
    encoder, row = encoder_of(tokenizers[name], train_on=target), ROWS[kind]
    if target != "all" and "text" in row:
        with pytest.raises(RowError, match=r"t\.jsonl:3: the row is plain text"):
            mask_of(encoder, row, "t.jsonl:3")
        return
    (encoded,) = encoder.encode(row)
    shown = mask_of(encoder, row, "t.jsonl:3")
    assert [token.id for token in shown.tokens] == encoded.ids.tolist()
    assert _trained(shown) == encoded.trained.tolist()
    assert shown.count("cut") == 0
    assert shown.kind == encoded.kind
    specials = special_ids(encoder.tokenizer)
    assert [token.special for token in shown.tokens] == [
        number in specials for number in encoded.ids.tolist()
    ]
    if "text" not in row:
        text = "".join(token.text for token in shown.tokens)
        assert text.startswith(_rendered(encoder, row))


@pytest.mark.parametrize("limit", [2, 7, 30, 60])
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_cut_off_is_shown_so(limit: int, target: str, encoder: Encoder) -> None:
    cut = encoder_of(encoder.tokenizer, train_on=target, max_seq_length=limit)
    (part,) = cut.encode(ROWS["chat"])
    shown = mask_of(cut, ROWS["chat"])
    states = [token.state for token in shown.tokens]
    assert _trained(shown)[:limit] == part.trained.tolist()
    assert states[limit:] == ["cut"] * part.cut
    assert "cut" not in states[:limit]
    assert bool(shown.note) == (not part.trained.any())


@pytest.mark.parametrize("limit", [5, 16, 33])
def test_a_split_row_is_shown_whole_with_its_seams(limit: int, encoder: Encoder) -> None:
    split = encoder_of(
        encoder.tokenizer, train_on="assistant", max_seq_length=limit, long_rows="split"
    )
    whole = encoder.whole(ROWS["chat"])
    parts = split.encode(ROWS["chat"])
    shown = mask_of(split, ROWS["chat"])
    assert [token.id for token in shown.tokens] == whole.ids.tolist()
    assert sum(_trained(shown)) == sum(part.targets for part in parts)
    assert len(shown.starts) == len(parts) - 1
    for part, start in zip(parts[1:], shown.starts, strict=True):
        # The first token of a later sequence is the last one of the one before it.
        again = [token.id for token in shown.tokens[start - 1 : start - 1 + len(part)]]
        assert np.array_equal(part.ids, again)


@pytest.mark.parametrize(
    ("long_rows", "why"), [("drop", "is longer than --max-seq-length"), ("error", "has 92 tokens")]
)
def test_a_row_that_is_left_out_is_shown_with_the_reason(
    long_rows: str, why: str, encoder: Encoder
) -> None:
    strict = encoder_of(encoder.tokenizer, max_seq_length=20, long_rows=long_rows)
    shown = mask_of(strict, ROWS["chat"])
    assert {token.state for token in shown.tokens} == {"cut"}
    assert why.split()[0] in shown.note
    assert "the row" in shown.note


def test_a_character_of_several_tokens_is_written_once(encoder: Encoder) -> None:
    shown = mask_of(encoder, {"prompt": "🙂日", "completion": "x"})
    texts = [token.text for token in shown.tokens]
    assert "🙂" in texts
    assert "" in texts
    assert "�" not in "".join(texts)


def test_a_row_survives_json(encoder: Encoder) -> None:
    shown = mask_of(encoder, ROWS["chat"], "train.jsonl:7")
    assert MaskedRow.from_json(json.loads(json.dumps(shown.to_json()))) == shown


def test_texts_of_a_tokenizer_without_offsets(encoder: Encoder, tokenizers: dict[str, Any]) -> None:
    class Slow:
        """The same tokenizer with nothing fast underneath."""

        backend_tokenizer = None

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    for name in ("chatml", "pieces-chatml"):
        fast = encoder_of(tokenizers[name])
        slow = encoder_of(Slow(tokenizers[name]))
        row = {"prompt": "The capital of Spain?", "completion": "It is Madrid."}
        texts = ["".join(t.text for t in mask_of(each, row).tokens) for each in (fast, slow)]
        # What decodes to blanks alone is up to the tokenizer.
        assert "".join(texts[0].split()) == "".join(texts[1].split())
