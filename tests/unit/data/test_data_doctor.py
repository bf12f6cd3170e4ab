from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_nb.data.doctor import check, examine
from lora_nb.data.findings import Finding, raise_errors
from lora_nb.data.records import rows_of
from lora_nb.data.sources import Splits, open_splits
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from tests.unit.data.kit import Options, encoder_of, write

HELLO = {"prompt": "hello", "completion": "Paris"}
OTHER = {"prompt": "what is it", "completion": "Madrid"}


def findings(encoder: Encoder, *rows: Any, **options: Any) -> list[Finding]:
    return check(Splits(train=rows_of(list(rows))), encoder, Options(), **options)


def codes(found: list[Finding]) -> list[tuple[str, str, int, str]]:
    return [(each.severity, each.code, each.count, each.where) for each in found]


def test_good_data_has_no_findings(encoder: Encoder) -> None:
    assert findings(encoder, HELLO, OTHER, context=2048, vocab=500) == []


def test_one_pass_encodes_each_row_once(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(tokenizer)
    calls: list[str] = []
    original = Encoder.encode

    def counted(self: Encoder, row: Any, where: str = "") -> Any:
        calls.append(where)
        return original(self, row, where)

    monkeypatch.setattr(Encoder, "encode", counted)
    splits = Splits(train=rows_of([HELLO, OTHER]), valid=rows_of([HELLO], "valid"))
    examined = examine(splits, encoder, Options())
    assert calls == ["train[0]", "train[1]", "valid[0]"]
    assert {name: len(each) for name, each in examined.prepared.items()} == {"train": 2, "valid": 1}


def test_duplicates(encoder: Encoder) -> None:
    found = findings(encoder, HELLO, OTHER, {**HELLO, "id": 7}, HELLO)
    assert codes(found) == [("warning", "duplicate", 2, "train[2]")]
    assert found[0].message == "the row is the same as train[0]."


def test_rows_that_differ_in_tools_are_no_duplicates(tokenizers: dict[str, Any]) -> None:
    encoder = encoder_of(tokenizers["default-system"])
    assert findings(encoder, HELLO, {**HELLO, "tools": [{"name": "x"}]}) == []


def test_leaks_between_splits(encoder: Encoder) -> None:
    splits = Splits(
        train=rows_of([HELLO, OTHER]),
        valid=rows_of([OTHER, {"text": "a"}], "valid"),
        test=rows_of([{"text": "a"}, HELLO, {"text": "b"}], "test"),
    )
    found = [each for each in check(splits, encoder, Options()) if each.code != "mixed"]
    assert codes(found) == [
        ("warning", "leak_train", 1, "valid[0]"),
        ("warning", "leak_train", 1, "test[1]"),
        ("warning", "leak_valid", 1, "test[0]"),
    ]
    assert found[0].message == "the row is also in train (train[1])."
    assert [each.split for each in found] == ["valid", "test", "test"]


def test_empty_parts(encoder: Encoder) -> None:
    found = findings(encoder, {"prompt": "", "completion": "a"}, {"prompt": "a", "completion": ""})
    assert codes(found) == [("warning", "empty", 2, "train[0]")]
    assert found[0].lines == (
        "train[0]: the prompt is empty.",
        "train[1]: the completion is empty.",
    )
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}
    assert findings(encoder, chat, HELLO)[0].message == "message 2 is empty."


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ("user user assistant", "messages 1 and 2 are both user messages."),
        ("user assistant assistant", "messages 2 and 3 are both assistant messages."),
        ("assistant user assistant", "the talk begins with the assistant."),
        ("system assistant", "the talk begins with the assistant."),
        ("user system assistant", "message 2 is a system message after the talk has begun."),
        ("user tool assistant", "message 2 is a tool result that no assistant message asked for."),
        ("user assistant user", "the last message is a user message, not an answer of the"),
        ("user assistant tool assistant", ""),
        ("system user assistant user assistant", ""),
        ("developer system user assistant", ""),
        ("user assistant tool tool assistant user assistant", ""),
    ],
)
def test_the_order_of_roles(encoder: Encoder, roles: str, message: str) -> None:
    messages = [{"role": role, "content": "a"} for role in roles.split()]
    found = findings(encoder, {"messages": messages}, HELLO)
    order = [each for each in found if each.code == "order"]
    assert bool(order) == bool(message)
    if message:
        assert order[0].message.startswith(message)
        assert order[0].severity == "warning"


def test_few_rows_are_a_note(encoder: Encoder) -> None:
    found = findings(encoder, HELLO)
    assert codes(found) == [("info", "few_rows", 1, "train")]
    assert found[0].message == "there is 1 row, fewer than a batch of 2."


def test_mixed_formats_are_a_note(encoder: Encoder) -> None:
    found = findings(encoder, HELLO, {"text": "a"}, OTHER)
    assert codes(found) == [("info", "mixed", 1, "train")]
    assert found[0].message == "rows of several formats are mixed: 2 completions, 1 text."


def test_chatml_in_place_of_a_missing_template(tokenizers: dict[str, Any]) -> None:
    encoder = encoder_of(tokenizers["none"])
    found = findings(encoder, HELLO, OTHER)
    assert codes(found) == [("warning", "no_template", 2, "")]
    assert "ChatML is used" in found[0].message
    assert findings(encoder, {"text": "a"}, {"text": "b"}) == []


def test_a_tokenizer_without_eos() -> None:
    from tests.unit.data.kit import TEMPLATES, byte_tokenizer

    encoder = encoder_of(byte_tokenizer(TEMPLATES["chatml"], eos_token=""))
    assert codes(findings(encoder, HELLO, OTHER)) == [("warning", "no_eos", 1, "")]


def test_rows_that_do_not_end(tokenizers: dict[str, Any]) -> None:
    found = findings(encoder_of(tokenizers["gemma"]), HELLO, OTHER)
    assert codes(found) == [("warning", "no_end", 2, "train[0]")]


def test_split_rows_end_once(tokenizer: Any) -> None:
    encoder = encoder_of(tokenizer, max_seq_length=5, long_rows="split")
    assert findings(encoder, {"text": "1 2 3 4 5 6 7 8 9"}, {"text": "a"}) == []


def test_tokens_outside_the_vocabulary_are_an_error(encoder: Encoder) -> None:
    found = findings(encoder, HELLO, OTHER, vocab=300)
    assert codes(found) == [("error", "vocab", 2, "train[0]")]
    with pytest.raises(LoraError, match="is outside the model's vocabulary of 300"):
        raise_errors(found)


def test_rows_longer_than_the_context(encoder: Encoder) -> None:
    found = findings(encoder, HELLO, OTHER, context=14)
    assert codes(found) == [("warning", "context", 1, "train[1]")]
    assert found[0].remedy == "Set --max-seq-length 14 or less."


def test_tools_that_the_template_hides(tokenizers: dict[str, Any]) -> None:
    row = {**HELLO, "tools": [{"name": "x"}]}
    assert "tools" in [each.code for each in findings(encoder_of(tokenizers["chatml"]), row)]
    shown = findings(encoder_of(tokenizers["default-system"]), row)
    assert "tools" not in [each.code for each in shown]


def test_cut_rows_and_their_share(tokenizer: Any) -> None:
    found = findings(encoder_of(tokenizer, max_seq_length=12), HELLO, OTHER)
    assert codes(found) == [("warning", "cut", 2, "train[0]")]
    assert "of all tokens are lost" in found[0].message


def test_an_empty_validation_file_does_not_stop_training(encoder: Encoder, tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", '{"text": "a"}', '{"text": "b"}')
    write(tmp_path, "valid.jsonl", "")
    found = check(open_splits(Options(data=str(tmp_path)), ["train"]), encoder, Options())
    assert codes(found) == [("warning", "no_rows", 1, "valid")]
    raise_errors(found)


def test_a_broken_validation_row_stops_training(encoder: Encoder, tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", '{"text": "a"}', '{"text": "b"}')
    write(tmp_path, "valid.jsonl", '{"text": "c"}', "{")
    found = check(open_splits(Options(data=str(tmp_path)), ["train"]), encoder, Options())
    with pytest.raises(LoraError, match=r"^valid\.jsonl:2: broken JSON"):
        raise_errors(found)


def test_a_broken_unused_file_is_a_warning(encoder: Encoder, tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", '{"text": "a"}', '{"text": "b"}')
    (tmp_path / "test.jsonl").write_bytes('{"text": "ü"}'.encode("utf-16"))
    found = check(open_splits(Options(data=str(tmp_path)), ["train"]), encoder, Options())
    assert codes(found) == [("warning", "unreadable", 1, "")]
    raise_errors(found)
    with pytest.raises(LoraError, match="is UTF-16"):
        open_splits(Options(data=str(tmp_path)), ["train", "test"])


def test_errors_come_first_and_progress_spans_the_splits(encoder: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    splits = Splits(
        train=rows_of([HELLO, HELLO, {"text": 1}]),
        valid=rows_of([OTHER, OTHER], "valid"),
    )
    examined = examine(splits, encoder, Options(), progress=lambda *n: seen.append(n))
    assert seen == [(3, 5), (5, 5)]
    assert [each.severity for each in examined.findings] == ["error", "warning", "warning"]
    assert [each.code for each in examined.prepared["valid"].findings] == ["duplicate"]


def test_a_list_of_errors_ends_with_a_count(encoder: Encoder) -> None:
    found = findings(encoder, *({"text": i} for i in range(50)), {"txt": ""})
    with pytest.raises(LoraError) as caught:
        raise_errors(found)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The data has 51 problems:"
    assert len(lines) == 22
    assert lines[-1] == "  … and 31 more"


def test_no_errors_raise_nothing() -> None:
    raise_errors([Finding("warning", "x", 1, "", "", "m", "r")])
