"""Bad rows: each is named with its place, what is wrong, and what to do; none gets through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_nb.data.doctor import examine
from lora_nb.data.findings import raise_errors
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.prepare import prepare
from lora_nb.data.records import rows_of
from lora_nb.data.sources import Splits
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from tests.unit.data.kit import Options, encoder_of, write

GOOD = '{"text": "fine"}'
WANTED = "Wanted are 'prompt' and 'completion', or 'messages', or 'text'."


def chat(*messages: str) -> str:
    return '{"messages": [' + ", ".join(messages) + "]}"


USER = '{"role": "user", "content": "a"}'

# line, code, message behind the place
BAD: dict[str, tuple[str | bytes, str, str]] = {
    "cut off": (
        '{"text": "a',
        "json",
        "broken JSON at column 10: unterminated string starting at. Each line holds one complete",
    ),
    "no comma": (
        '{"text": "a" "b": 1}',
        "json",
        "broken JSON at column 14: expecting ',' delimiter. Each line holds",
    ),
    "trailing comma": ('{"text": "a",}', "json", "broken JSON at column"),
    "no JSON": ("hello there", "json", "broken JSON at column 1: expecting value."),
    "single quotes": (
        "{'text': 'a'}",
        "json",
        (
            "broken JSON at column 2: expecting property name enclosed in double quotes. "
            "JSON wants double quotes, as json.dumps writes them."
        ),
    ),
    "two on a line": (
        '{"text": "a"}{"text": "b"}',
        "json",
        "broken JSON at column 14: extra data. Put each object on a line of its own.",
    ),
    "two with a blank": (
        '{"text": "a"} {"text": "b"}',
        "json",
        "broken JSON at column 15: extra data. Put each object on a line of its own.",
    ),
    "comma behind": ('{"text": "a"},', "json", "broken JSON at column 14: extra data."),
    "control character": ('{"text": "a\tb"}', "json", "broken JSON at column 12: invalid control"),
    "bad escape": ('{"text": "\\q"}', "json", "broken JSON at column 11: invalid \\escape"),
    "pretty object": (
        "{",
        "json",
        "broken JSON at column 2: the object goes on over more lines. Each line holds one",
    ),
    "pretty array": ("[", "json", "broken JSON at column 2: the array goes on over more lines."),
    "not UTF-8": (
        b'{"text": "gr\xfc\xdfe"}',
        "encoding",
        "byte 13 of the line (0xfc) is not UTF-8 text. Save the file again as UTF-8.",
    ),
    "an array of objects": (
        '[{"text": "a"}]',
        "not_object",
        (
            "the line holds an array, not an object. Write each object of the array on a line "
            "of its own, without the brackets."
        ),
    ),
    "an array": (
        '["a"]',
        "not_object",
        'the line holds an array, not an object. Write it as an object, e.g. {"text": "..."}.',
    ),
    "a text": ('"a"', "not_object", "the line holds a text, not an object."),
    "a number": ("5", "not_object", "the line holds a number, not an object."),
    "null": ("null", "not_object", "the line holds null, not an object."),
    "true": ("true", "not_object", "the line holds true or false, not an object."),
    "empty object": ("{}", "keys", f"the row is empty. {WANTED}"),
    "a typo": (
        '{"txet": "a"}',
        "keys",
        f"the row has no format we know: its keys are 'txet'. {WANTED} Did you mean 'text'?",
    ),
    "completion missing": (
        '{"prompt": "a"}',
        "keys",
        f"the row has no format we know: its keys are 'prompt'. {WANTED} 'completion' is missing.",
    ),
    "completion misspelt": (
        '{"prompt": "a", "completions": "b"}',
        "keys",
        (
            "the row has no format we know: its keys are 'prompt', 'completions'. "
            f"{WANTED} 'completion' is missing. Did you mean 'completions'?"
        ),
    ),
    "other keys": (
        '{"question": "a", "answer": "b"}',
        "keys",
        (
            "the row has no format we know: its keys are 'question', 'answer'. "
            f"{WANTED} Other keys are named with --prompt-feature and its siblings."
        ),
    ),
    "many keys": (
        '{"k1":1,"k2":1,"k3":1,"k4":1,"k5":1,"k6":1,"k7":1,"k8":1,"k9":1}',
        "keys",
        (
            "the row has no format we know: its keys are 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', "
            "'k8', …. Wanted"
        ),
    ),
    "ShareGPT": (
        '{"conversations": [{"from": "human", "value": "a"}]}',
        "keys",
        (
            "the row has no format we know: its keys are 'conversations'. "
            f"{WANTED} Name another key with --chat-feature conversations."
        ),
    ),
    "ShareGPT messages": (
        chat('{"from": "human", "value": "a"}'),
        "keys",
        "messages[0] has 'from' and 'value' in place of 'role' and 'content'. Rename them",
    ),
    "text null": (
        '{"text": null}',
        "null",
        "'text' is null. Give it a value, or leave the row out.",
    ),
    "completion null": ('{"prompt": "a", "completion": null}', "null", "'completion' is null."),
    "messages null": ('{"messages": null}', "null", "'messages' is null."),
    "text a number": ('{"text": 5}', "type", "'text' is a number, not a text. Write it in quotes."),
    "text a list": ('{"text": ["a"]}', "type", "'text' is a list, not a text."),
    "text true": ('{"text": true}', "type", "'text' is true, not a text."),
    "text an object": ('{"text": {"a": 1}}', "type", "'text' is an object, not a text."),
    "completion a number": (
        '{"prompt": "a", "completion": 1.5}',
        "type",
        "'completion' is a number, not a text.",
    ),
    "prompt of messages": (
        '{"prompt": [{"role": "user", "content": "a"}], "completion": "b"}',
        "type",
        "'prompt' is a list of messages, not a text. Write the whole chat as one list under",
    ),
    "half a character": (
        '{"text": "ab\\ud83d"}',
        "surrogate",
        "'text' holds half of a character (an unpaired surrogate, character 3). Replace it:",
    ),
    "messages a text": (
        '{"messages": "hello"}',
        "type",
        (
            "'messages' is a text, not a list. Write messages as "
            '[{"role": "user", "content": "..."}, ...].'
        ),
    ),
    "messages an object": (f'{{"messages": {USER}}}', "type", "'messages' is an object, not a li"),
    "no messages": (chat(), "empty", "'messages' is an empty list. Leave the row out."),
    "message a text": (chat('"hello"'), "type", "messages[0] is a text, not an object. Write a"),
    "message null": (chat(USER, "null"), "type", "messages[1] is null, not an object."),
    "no role": (
        chat('{"content": "a"}'),
        "keys",
        'messages[0] has no \'role\'. Add one: "system", "user" or "assistant".',
    ),
    "role a number": (
        chat('{"role": 1, "content": "a"}'),
        "type",
        "messages[0].role is a number, not a text.",
    ),
    "unknown role": (
        chat('{"role": "Assistent", "content": "a"}'),
        "role",
        (
            "messages[0] has the unknown role 'Assistent'. Known are system, user, assistant and "
            "tool. Did you mean 'assistant'?"
        ),
    ),
    "role of another world": (
        chat(USER, '{"role": "gpt", "content": "a"}'),
        "role",
        (
            "messages[1] has the unknown role 'gpt'. Known are system, user, assistant and tool. "
            "Did you mean 'assistant'?"
        ),
    ),
    "no content": (
        chat('{"role": "user", "contents": "a"}'),
        "keys",
        "messages[0] has no 'content'. Its keys are 'role', 'contents'. Is it 'contents'?",
    ),
    "content null": (
        chat('{"role": "user", "content": null}'),
        "null",
        "messages[0].content is null. Only an assistant message with tool_calls may lack content.",
    ),
    "answer null": (
        chat(USER, '{"role": "assistant", "content": null}'),
        "null",
        "messages[1].content is null.",
    ),
    "content a number": (
        chat('{"role": "user", "content": 3}'),
        "type",
        "messages[0].content is a number, not a text.",
    ),
    "a picture": (
        chat('{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}'),
        "type",
        "messages[0].content[0] is not a text part. Only text can be trained on:",
    ),
    "no parts": (
        chat('{"role": "user", "content": []}'),
        "type",
        "messages[0].content is a list, not a text.",
    ),
    "tool calls a text": (
        chat(USER, '{"role": "assistant", "tool_calls": "weather()"}'),
        "type",
        "messages[1].tool_calls is not a list of objects.",
    ),
    "tools a text": (
        '{"messages": [' + USER + '], "tools": "[]"}',
        "type",
        "'tools' is a text (JSON inside a text), not a list. Write it as a list of tool",
    ),
    "tools of texts": (
        '{"messages": [' + USER + '], "tools": ["weather"]}',
        "type",
        "tools[0] is a text, not an object.",
    ),
    "half a character in a call": (
        chat(USER, '{"role": "assistant", "tool_calls": [{"name": "\\udc00"}]}'),
        "surrogate",
        "messages[1] holds half of a character (an unpaired surrogate).",
    ),
    "half a character in tools": (
        '{"messages": [' + USER + '], "tools": [{"name": "\\ud83d"}]}',
        "surrogate",
        "'tools' holds half of a character (an unpaired surrogate). Replace it:",
    ),
}


@pytest.fixture
def encoder(tokenizers: dict[str, Any]) -> Encoder:
    return encoder_of(tokenizers["default-system"])


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("case", BAD)
def test_bad_row(case: str, encoder: Encoder, tmp_path: Path) -> None:
    line, code, message = BAD[case]
    rows = JsonlRows(write(tmp_path, "train.jsonl", GOOD, "", line, GOOD), "train")
    with pytest.raises(LoraError) as caught:
        prepare(rows, encoder)
    assert str(caught.value).startswith(f"train.jsonl:3: {message}")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?", "}", ")", "]"))

    examined = examine(Splits(train=rows), encoder, Options())
    (finding,) = (each for each in examined.findings if each.severity == "error")
    assert (finding.code, finding.count, finding.where) == (code, 1, "train.jsonl:3")
    assert f"{finding.message} {finding.remedy}".startswith(message)
    assert len(finding.value) <= 60
    assert len(examined.prepared["train"].encoded) == 2


@pytest.mark.parametrize("case", BAD)
def test_bad_row_of_an_unused_split_is_a_warning(
    case: str, encoder: Encoder, tmp_path: Path
) -> None:
    line, code, _ = BAD[case]
    splits = Splits(
        train=rows_of([{"text": "other"}]),
        test=JsonlRows(write(tmp_path, "test.jsonl", GOOD, line), "test"),
        needed=frozenset({"train"}),
        used=frozenset({"train", "valid"}),
    )
    examined = examine(splits, encoder, Options())
    raise_errors(examined.findings)
    assert list(examined.prepared) == ["train"]
    found = [(each.severity, each.code) for each in examined.findings if each.where]
    assert ("warning", code) in found


def test_every_bad_row_at_once(encoder: Encoder, tmp_path: Path) -> None:
    lines = [line for line, _, _ in BAD.values()]
    rows = JsonlRows(write(tmp_path, "train.jsonl", *lines), "train")
    with pytest.raises(LoraError) as caught:
        prepare(rows, encoder)
    text = str(caught.value).splitlines()
    assert text[0] == f"The data has {len(BAD)} problems:"
    assert len(text) == 22
    assert all(line.startswith("  - train.jsonl:") for line in text[1:21])
    assert text[-1] == f"  … and {len(BAD) - 20} more"


@pytest.mark.parametrize("row", [
    {"text": "a", "meta": {"x": [1]}, "id": None},
    {"prompt": None, "completion": None, "text": "a"},
    {"messages": None, "prompt": "a", "completion": "b"},
    {"messages": [{"role": "user", "content": "a", "name": None, "weight": 0}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}]},
    {"messages": [{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}]},
    {"messages": [{"role": "user", "content": "a"}], "tools": None},
    {"messages": [{"role": "user", "content": "a"}], "tools": []},
    {"prompt": "", "completion": "b"},
    {"text": "\u0000 \u202e \ufeff"},
])  # fmt: skip
def test_odd_but_usable_rows(row: dict[str, Any], encoder: Encoder) -> None:
    assert prepare(rows_of([row]), encoder).trained > 0
