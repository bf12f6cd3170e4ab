"""Rows that differ in nothing that matters much, within a split and across."""

from __future__ import annotations

from typing import Any

import pytest

from lora_nb.data.doctor import check
from lora_nb.data.keys import exact_key, near_key
from lora_nb.data.records import rows_of
from lora_nb.data.sources import Splits
from lora_nb.data.tokens import Encoder
from tests.unit.data.kit import Options, encoder_of, piece_tokenizer

HELLO = {"prompt": "Hello there, how are you?", "completion": "Paris"}
NEARLY = {"prompt": "hello  there\nhow are you", "completion": "Paris."}
OTHER = {"prompt": "what is it", "completion": "Madrid"}


def codes(splits: Splits, encoder: Encoder) -> list[tuple[str, str, int, str]]:
    found = check(splits, encoder, Options())
    return [(each.severity, each.code, each.count, each.where) for each in found]


@pytest.mark.parametrize("text", [
    "Is it 1.5 m?", " is\tit 1.5 M", "IS IT 1.5 M!!", "Is it “1.5 m”…", "is it\xa01.5\u3000m",
    "Is; it: (1.5) [m]",
])  # fmt: skip
def test_case_blanks_and_punctuation_do_not_count(text: str) -> None:
    assert near_key(text, None) == near_key("is it 1.5 m", None)


@pytest.mark.parametrize("text", [
    "is it 15 m", "is it 1.5 mm", "is it -1.5 m", "is it 1.5 < m", "isit 1.5 m", "it is 1.5 m", "",
    "?",
])  # fmt: skip
def test_everything_else_does(text: str) -> None:
    assert near_key(text, None) != near_key("is it 1.5 m", None)


def test_a_row_of_signs_alone_is_only_like_itself() -> None:
    assert near_key("?!", None) != near_key("!?", None)
    assert near_key("?!", None) == near_key("?!", None)


def test_parts_of_a_row_do_not_flow_together() -> None:
    def talk(*contents: str | None) -> list[dict[str, Any]]:
        return [{"role": "user", "content": each} for each in contents]

    assert near_key(talk("a b", "c"), None) != near_key(talk("a", "b c"), None)
    assert near_key(talk("a"), None) != near_key("a", [{"name": "x"}])
    calls = [{**talk(None)[0], "tool_calls": [{"name": name}]} for name in "xy"]
    assert near_key(calls[:1], None) != near_key(calls[1:], None)


@pytest.mark.parametrize("content", ["a", "", "?", "\ud83d", [{"role": "user", "content": "Ö"}]])
def test_equal_rows_have_equal_keys(content: Any) -> None:
    for tools in (None, [{"name": "\ud83d"}]):
        assert near_key(content, tools) == near_key(content, tools)
        assert exact_key(content, tools) == exact_key(content, tools)


def test_within_a_split_they_are_a_note(encoder: Encoder) -> None:
    third = {"prompt": "HELLO there how are you", "completion": "paris"}
    rows = [HELLO, OTHER, NEARLY, HELLO, NEARLY, third]
    splits = Splits(train=rows_of(rows))
    assert codes(splits, encoder) == [
        ("warning", "duplicate", 2, "train[3]"),
        ("info", "near_duplicate", 2, "train[2]"),
    ]
    near = check(splits, encoder, Options())[1]
    assert near.lines == tuple(
        f"train[{place}]: the row is nearly the same as train[0]: only letter case, blanks or "
        "punctuation differ."
        for place in (2, 5)
    )
    assert check(splits, encoder, Options())[0].lines[1] == (
        "train[4]: the row is the same as train[2]."
    )


def test_across_splits_they_are_a_warning(encoder: Encoder) -> None:
    splits = Splits(
        train=rows_of([HELLO, OTHER]), valid=rows_of([NEARLY, OTHER], "valid"),
        test=rows_of([NEARLY, {**NEARLY, "prompt": "HELLO THERE HOW ARE YOU"}], "test"),
    )  # fmt: skip
    assert codes(splits, encoder) == [
        ("warning", "near_leak_train", 1, "valid[0]"),
        ("warning", "leak_train", 1, "valid[1]"),
        ("warning", "near_leak_train", 2, "test[0]"),
        ("warning", "leak_valid", 1, "test[0]"),
        ("warning", "near_leak_valid", 1, "test[1]"),
        ("info", "near_duplicate", 1, "test[1]"),
    ]


def test_characters_that_the_tokenizer_does_not_know() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "</s>": 1, "how": 2, "old": 3}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="</s>"
    )
    rows = [{"text": "how old"}, {"text": "how Größe old 日本語 x"}, {"text": "wer"}]
    found = check(Splits(train=rows_of(rows)), encoder_of(tokenizer), Options())
    (unknown,) = [each for each in found if each.code == "unknown"]
    assert (unknown.severity, unknown.count, unknown.where) == ("warning", 2, "train[1]")
    assert unknown.message == "3 of 6 tokens are unknown to the tokenizer."
    assert "Größe" in unknown.value
    assert "日本語" in unknown.value
    # An end token that is also given as the unknown one says nothing.
    twice = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="</s>", eos_token="</s>")
    found = check(Splits(train=rows_of(rows[:1] * 2)), encoder_of(twice), Options())
    assert [each.code for each in found] == ["duplicate"]
    found = check(Splits(train=rows_of(rows)), encoder_of(piece_tokenizer()), Options())
    assert "unknown" not in [each.code for each in found]
