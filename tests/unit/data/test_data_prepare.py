from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lora_nb.data.prepare import prepare
from lora_nb.data.records import rows_of
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from tests.unit.data.kit import encoder_of

COMPLETION = {"prompt": "hello", "completion": "Paris"}


def test_counts(encoder: Encoder) -> None:
    rows = rows_of([{"text": "1 2 3"}, COMPLETION, {"text": "4"}])
    prepared = prepare(rows, encoder)
    lengths = [len(each.ids) for each in prepared.encoded]
    assert len(prepared) == 3
    assert prepared.lengths == lengths
    assert prepared.tokens == sum(lengths)
    assert prepared.trained == sum(lengths) - 3
    assert prepared.where == ["train[0]", "train[1]", "train[2]"]
    assert prepared.row == [0, 1, 2]
    assert prepared.kinds == Counter(text=2, completions=1)
    assert (prepared.cut_rows, prepared.cut_tokens, prepared.findings) == (0, 0, [])


def test_cut_rows_are_counted_and_said(tokenizer: Any) -> None:
    rows = rows_of([{"text": "1 2 3 4 5 6 7 8 9"}, {"text": "1 2"}, {"text": "1 2 3 4 5 6"}])
    prepared = prepare(rows, encoder_of(tokenizer, max_seq_length=5))
    assert (prepared.cut_rows, prepared.cut_tokens) == (2, 5 + 2)
    (finding,) = prepared.findings
    assert (finding.severity, finding.code, finding.count) == ("warning", "cut", 2)
    assert (finding.where, finding.value) == ("train[0]", "10")
    assert str(finding) == (
        "train[0]: rows are cut to 5 tokens; 35.0% of all tokens are lost. (2 times in all) "
        "Raise --max-seq-length, or choose --long-rows split or drop."
    )


def test_rows_without_a_target_are_left_out_and_named(tokenizer: Any) -> None:
    long_prompt = {"prompt": "1 2 3 4 5 6 7 8 9 " * 3, "completion": "Paris"}
    lone = {"messages": [{"role": "user", "content": "hello"}]}
    rows = rows_of([COMPLETION, long_prompt, COMPLETION, lone])
    prepared = prepare(rows, encoder_of(tokenizer, max_seq_length=20, mask_prompt=True))
    assert prepared.where == ["train[0]", "train[2]"]
    assert prepared.skipped == 2
    (finding,) = prepared.findings
    assert (finding.severity, finding.code, finding.count) == ("warning", "no_target", 2)
    assert finding.lines == (
        "train[1]: the row has no token to train on: its prompt alone fills --max-seq-length.",
        "train[3]: the row has no token to train on: it has no answer of an assistant.",
    )


def test_an_empty_text_has_no_target(encoder: Encoder) -> None:
    prepared = prepare(rows_of([{"text": ""}, {"text": "a"}]), encoder)
    assert prepared.where == ["train[1]"]
    assert "its text is empty" in prepared.findings[0].message


def test_no_target_at_all_is_an_error(tokenizer: Any) -> None:
    rows = rows_of([{"messages": [{"role": "user", "content": "hello"}]}] * 3)
    with pytest.raises(LoraError, match=r"^train: no row has a token to train on"):
        prepare(rows, encoder_of(tokenizer, mask_prompt=True))


def test_no_rows_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(LoraError, match=r"^train: there are no rows"):
        prepare(rows_of([]), encoder)


def test_dropped_rows_are_counted(tokenizer: Any) -> None:
    rows = rows_of([{"text": "1 2 3 4 5 6 7 8 9"}, {"text": "1 2"}])
    prepared = prepare(rows, encoder_of(tokenizer, max_seq_length=5, long_rows="drop"))
    assert (prepared.dropped, prepared.where) == (1, ["train[1]"])
    assert [finding.code for finding in prepared.findings] == ["dropped"]


def test_split_rows_keep_their_place(tokenizer: Any) -> None:
    rows = rows_of([{"text": "1 2"}, {"text": "1 2 3 4 5 6 7 8 9"}])
    prepared = prepare(rows, encoder_of(tokenizer, max_seq_length=5, long_rows="split"))
    assert prepared.row == [0, 1, 1, 1]
    assert prepared.where[1:] == ["train[1]"] * 3
    assert prepared.trained == 2 + 9
    assert prepared.kinds == Counter(text=2)


def test_parts_without_a_target_are_left_out(tokenizer: Any) -> None:
    row = {"prompt": "1 2 3 4 5 6 7 8 9", "completion": "Paris"}
    options: dict[str, Any] = {"max_seq_length": 8, "long_rows": "split"}
    whole = encoder_of(tokenizer, mask_prompt=True).encode(row)[0]
    prepared = prepare(rows_of([row]), encoder_of(tokenizer, mask_prompt=True, **options))
    assert prepared.trained == whole.targets
    assert len(prepared) < len(encoder_of(tokenizer, **options).encode(row))


def test_every_bad_row_is_listed(encoder: Encoder) -> None:
    rows = rows_of([{"text": "a"}, {"text": 1}, {"txt": "a"}, {"text": 2}])
    with pytest.raises(LoraError) as caught:
        prepare(rows, encoder)
    assert str(caught.value).splitlines() == [
        "The data has 3 problems:",
        "  - train[1]: 'text' is a number, not a text. Write it in quotes.",
        "  - train[3]: 'text' is a number, not a text.",
        (
            "  - train[2]: the row has no format we know: its keys are 'txt'. Wanted are 'prompt' "
            "and 'completion', or 'messages', or 'text'. Did you mean 'text'?"
        ),
    ]


def test_progress_reaches_the_end(encoder: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    prepare(rows_of([{"text": "a"}] * 450), encoder, lambda *counts: seen.append(counts))
    assert seen == [(200, 450), (400, 450), (450, 450)]


def test_no_tokenizer_error_gets_through(tokenizer: Any) -> None:
    class Failing:
        chat_template = "x"
        eos_token_id = 1

        def encode(self, text: str, **options: Any) -> list[int]:
            raise TypeError("TextEncodeInput must be Union")

    broken: Any = Failing()
    with pytest.raises(LoraError, match=r"^train\[0\]: the tokenizer cannot encode the row \(Type"):
        prepare(rows_of([{"text": "a"}]), encoder_of(broken))
