"""Which tokens are trained, token by token and for every kind of template."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lora_nb.data.tokens import Encoded, Encoder
from lora_nb.errors import LoraError
from tests.unit.data.kit import TEMPLATES, byte_tokenizer, encoder_of, pieces_of, trained_text

COMPLETION = {"prompt": "hello", "completion": "Paris"}
CHAT = {
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "I am fine"},
        {"role": "user", "content": "capital?"},
        {"role": "assistant", "content": "Paris"},
    ]
}
NAMES = [*TEMPLATES, "none", "pieces", "pieces-chatml"]


def one(encoder: Encoder, row: dict[str, Any]) -> Encoded:
    (encoded,) = encoder.encode(row, "train.jsonl:1")
    assert len(encoded.ids) == len(encoded.trained)
    assert encoded.ids.dtype == np.int32
    assert encoded.trained.dtype == np.bool_
    assert not encoded.trained[0]
    return encoded


def test_text_token_by_token(tokenizer: Any) -> None:
    encoded = one(encoder_of(tokenizer), {"text": "hello there"})
    assert pieces_of(tokenizer, encoded) == [
        ("h", False),
        ("el", True),
        ("lo", True),
        (" there", True),
        ("<|im_end|>", True),
    ]
    assert (encoded.kind, encoded.cut, encoded.targets, len(encoded)) == ("text", 0, 4, 5)


def test_text_gets_its_eos_once(tokenizer: Any) -> None:
    encoded = one(encoder_of(tokenizer), {"text": "hello there<|im_end|>"})
    assert encoded.ids.tolist().count(tokenizer.eos_token_id) == 1


def test_text_with_bos(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["pieces"]
    encoded = one(encoder_of(tokenizer), {"text": "hello"})
    assert encoded.ids[0] == tokenizer.bos_token_id
    assert encoded.ids[-1] == tokenizer.eos_token_id
    assert encoded.trained.tolist() == [False] + [True] * (len(encoded) - 1)


def test_completions_token_by_token(tokenizer: Any) -> None:
    whole = [
        ("<|im_start|>", False),
        ("user", True),
        ("\n", True),
        ("h", True),
        ("el", True),
        ("lo", True),
        ("<|im_end|>", True),
        ("\n", True),
        ("<|im_start|>", True),
        ("assistant", True),
        ("\n", True),
        ("Paris", True),
        ("<|im_end|>", True),
        ("\n", True),
    ]
    every = pieces_of(tokenizer, one(encoder_of(tokenizer), COMPLETION))
    assert every == whole
    for options in ({"mask_prompt": True}, {"train_on": "completions"}, {"train_on": "assistant"}):
        masked = pieces_of(tokenizer, one(encoder_of(tokenizer, **options), COMPLETION))
        assert masked == [(text, i >= 11) for i, (text, _) in enumerate(whole)]


def test_chat_token_by_token(tokenizer: Any) -> None:
    header = ["<|im_start|>", "user", "\n", "h", "el", "lo", "<|im_end|>", "\n"]
    header += ["<|im_start|>", "assistant", "\n"]
    first = ["I", " am", " fin", "e", "<|im_end|>", "\n"]
    between = ["<|im_start|>", "user", "\n", "cap", "ital", "?", "<|im_end|>", "\n"]
    between += ["<|im_start|>", "assistant", "\n"]
    last = ["Paris", "<|im_end|>", "\n"]
    texts = header + first + between + last

    def masked(*parts: bool) -> list[tuple[str, bool]]:
        runs = zip((header, first, between, last), parts, strict=True)
        return list(zip(texts, [part for run, part in runs for _ in run], strict=True))

    def pieces(**options: Any) -> list[tuple[str, bool]]:
        return pieces_of(tokenizer, one(encoder_of(tokenizer, **options), CHAT))

    assert pieces()[1:] == masked(True, True, True, True)[1:]
    assert pieces(mask_prompt=True) == masked(False, False, False, True)
    assert pieces(train_on="assistant") == masked(False, True, False, True)


ENDS = {
    "chatml": "<|im_end|>\n",
    "default-system": "<|im_end|>\n",
    "gemma": "<end_of_turn>\n",
    "mistral": "<|im_end|>",
    "qwen3": "<|im_end|>\n",
    "open-thought": "<|im_end|>",
    "plain": "<|im_end|>",
    "none": "<|im_end|>\n<|endoftext|>",
    "pieces": "</s>",
    "pieces-chatml": "<|im_end|> \n",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("train_on", ["completions", "assistant"])
def test_answers_are_trained_with_every_template(
    tokenizers: dict[str, Any], name: str, train_on: str
) -> None:
    tokenizer = tokenizers[name]
    encoder = encoder_of(tokenizer, train_on=train_on)
    blank = " " if name == "mistral" else ""
    thought = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    last = blank + thought + "Paris" + ENDS[name]
    assert trained_text(tokenizer, one(encoder, COMPLETION)) == last
    turns = [last]
    if train_on == "assistant":
        mid = "" if name == "plain" else ENDS[name].replace("<|endoftext|>", "")
        turns = [blank + "I am fine" + mid, last]
    assert trained_text(tokenizer, one(encoder, CHAT)) == "|".join(turns)


@pytest.mark.parametrize("name", NAMES)
def test_one_turn_is_trained_alike_by_both_targets(tokenizers: dict[str, Any], name: str) -> None:
    rows = [COMPLETION, {"prompt": "a", "completion": "assistant"}]
    rows += [{"prompt": "", "completion": ""}, {"prompt": "x\n", "completion": "\n\n y \n"}]
    rows += [{"prompt": "🙂", "completion": "🙃 日本語"}, {"prompt": "a b", "completion": " c"}]
    for row in rows:
        one_mask, other = (
            one(encoder_of(tokenizers[name], train_on=target), row).trained
            for target in ("completions", "assistant")
        )
        assert one_mask.tolist() == other.tolist(), row


def test_thoughts_taken_out_of_the_history_are_not_counted(tokenizers: dict[str, Any]) -> None:
    thoughtful = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nI am fine"}
    chat = {"messages": [CHAT["messages"][0], thoughtful, *CHAT["messages"][2:]]}
    tokenizer = tokenizers["qwen3"]
    encoder = encoder_of(tokenizer, train_on="assistant")
    assert trained_text(tokenizer, one(encoder, chat)) == (
        "I am fine<|im_end|>\n|<think>\n\n</think>\n\nParis<|im_end|>\n"
    )
    short = {"messages": chat["messages"][:2]}
    assert trained_text(tokenizer, one(encoder, short)) == (
        "<think>\nhm\n</think>\n\nI am fine<|im_end|>\n"
    )


def test_a_generation_prompt_that_rows_lack_does_not_shift_the_mask(
    tokenizers: dict[str, Any],
) -> None:
    """Its open thought is two tokens longer than the header that the rows have."""
    tokenizer = tokenizers["open-thought"]
    for answer in ("Paris", "<think", "think", "\n", "assistant"):
        row = {"prompt": "hello", "completion": answer}
        encoded = one(encoder_of(tokenizer, mask_prompt=True), row)
        assert trained_text(tokenizer, encoded) == answer + "<|im_end|>"


def merging(token: str) -> Any:
    from tokenizers import AddedToken

    tokenizer = byte_tokenizer(TEMPLATES["plain"])
    tokenizer.add_tokens([AddedToken(token, normalized=False)])
    return tokenizer


@pytest.mark.parametrize("target", ["completions", "assistant"])
@pytest.mark.parametrize(
    ("token", "answer"), [(":P", "Paris"), (":\n", "\nParis"), (":\n\n", "\n\n a"), (":  ", "  a")]
)
def test_tokens_that_merge_across_the_joint_are_trained(
    token: str, answer: str, target: str
) -> None:
    """The colon of the header and the beginning of the answer are one token."""
    tokenizer = merging(token)
    encoded = one(encoder_of(tokenizer, train_on=target), {"prompt": "hello", "completion": answer})
    assert trained_text(tokenizer, encoded) == f":{answer}<|im_end|>"


@pytest.mark.parametrize("token", ["e\n", "e\nuser"])
def test_tokens_that_merge_across_the_end_of_a_turn_are_trained(token: str) -> None:
    tokenizer = merging(token)
    encoded = one(encoder_of(tokenizer, train_on="assistant"), CHAT)
    assert trained_text(tokenizer, encoded) == f"I am fin{token}|Paris<|im_end|>"


def test_a_chat_that_ends_with_the_user_trains_that_turn_as_mlx_lm_does(tokenizer: Any) -> None:
    row = {"messages": CHAT["messages"][:3]}
    encoded = one(encoder_of(tokenizer, mask_prompt=True), row)
    assert trained_text(tokenizer, encoded) == "<|im_start|>user\ncapital?<|im_end|>\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_lone_user_turn_has_no_target(tokenizers: dict[str, Any], name: str) -> None:
    row = {"messages": CHAT["messages"][:1]}
    for target in ("completions", "assistant"):
        assert one(encoder_of(tokenizers[name], train_on=target), row).targets == 0


@pytest.mark.parametrize("target", ["completions", "assistant"])
def test_a_lone_answer_is_trained_without_its_header(tokenizer: Any, target: str) -> None:
    row = {"messages": [{"role": "assistant", "content": "Paris"}]}
    encoded = one(encoder_of(tokenizer, train_on=target), row)
    assert trained_text(tokenizer, encoded) == "Paris<|im_end|>\n"


def test_tool_calls_and_tools(tokenizers: dict[str, Any]) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    row = {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1 2 3"},
            {"role": "assistant", "content": "fine"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }
    tokenizer = tokenizers["default-system"]
    encoded = one(encoder_of(tokenizer, train_on="assistant"), row)
    called, answer = trained_text(tokenizer, encoded).split("|>\n|")
    assert called.startswith("<tool_call>\n{")
    assert '"city": "Paris"' in called
    assert answer == "fine<|im_end|>\n"
    assert 'Tools: [{"type"' in tokenizer.decode(encoded.ids.tolist())


def test_the_default_template_writes_tool_calls(tokenizers: dict[str, Any]) -> None:
    call = {"function": {"name": "weather", "arguments": {}}}
    row = {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "tool_calls": [call]},
        ]
    }
    tokenizer = tokenizers["none"]
    encoded = one(encoder_of(tokenizer, train_on="assistant"), row)
    assert trained_text(tokenizer, encoded) == (
        '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call><|im_end|>\n<|endoftext|>'
    )


def test_masking_plain_text_is_refused(tokenizer: Any) -> None:
    for options in ({"mask_prompt": True}, {"train_on": "assistant"}):
        with pytest.raises(LoraError, match=r"^x:1: the row is plain text, which has no prompt"):
            encoder_of(tokenizer, **options).encode({"text": "a"}, "x:1")


def test_contradicting_options_are_refused(tokenizer: Any) -> None:
    with pytest.raises(LoraError, match="--mask-prompt and --train-on all contradict"):
        encoder_of(tokenizer, mask_prompt=True, train_on="all")


def test_train_on_wins_over_mask_prompt(tokenizer: Any) -> None:
    assert encoder_of(tokenizer, mask_prompt=True, train_on="assistant").target == "assistant"


class OwnChat:
    """A tokenizer whose chat method does not go through text, as some models bring one."""

    chat_template = None
    has_chat_template = True
    eos_token_id = 2
    eos_token = "</s>"
    bos_token = None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [3 + ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(i - 3) for i in ids)

    def apply_chat_template(self, messages: Any, tokenize: bool = True, **options: Any) -> Any:
        if not tokenize:
            return "".join(message["content"] for message in messages)
        ids: list[int] = []
        for message in messages:
            ids += [0 if message["role"] == "user" else 1, *self.encode(message["content"])]
            ids += [2] if message["role"] == "assistant" else []
        return ids + ([1] if options.get("add_generation_prompt") else [])


def test_a_tokenizer_with_its_own_ids_is_believed() -> None:
    tokenizer: Any = OwnChat()
    row = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "de"},
        ]
    }
    a, b, c, d, e = (3 + ord(letter) for letter in "abcde")
    ids = [0, a, 1, b, 2, 0, c, 1, d, e, 2]
    for target, trained in {
        "all": ids[1:],
        "completions": [d, e, 2],
        "assistant": [b, 2, d, e, 2],
    }.items():
        encoded = one(encoder_of(tokenizer, train_on=target), row)
        assert encoded.ids.tolist() == ids
        assert encoded.ids[encoded.trained].tolist() == trained


def test_without_offsets_the_common_prefix_decides(tokenizers: dict[str, Any]) -> None:
    """A slow tokenizer has none; the masks are the same."""

    class Slow:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == "backend_tokenizer":
                raise AttributeError(name)
            return getattr(self._inner, name)

    for name in NAMES:
        for target in ("completions", "assistant"):
            for row in (COMPLETION, CHAT):
                fast = one(encoder_of(tokenizers[name], train_on=target), row)
                slow = one(encoder_of(Slow(tokenizers[name]), train_on=target), row)
                assert fast.trained.tolist() == slow.trained.tolist(), (name, target)


def test_offsets_of_other_ids_are_not_believed(tokenizers: dict[str, Any]) -> None:
    """A tokenizer that rewrites the text first: the fast one underneath sees another text."""

    class Rewriting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def encode(self, text: str, **options: Any) -> Any:
            return self._inner.encode(text.replace("\n", " newline "), **options)

        def apply_chat_template(self, messages: Any, tokenize: bool = True, **options: Any) -> Any:
            text = self._inner.apply_chat_template(messages, tokenize=False, **options)
            return self.encode(text, add_special_tokens=False) if tokenize else text

    tokenizer: Any = Rewriting(tokenizers["chatml"])
    encoded = one(encoder_of(tokenizer, train_on="assistant"), CHAT)
    assert trained_text(tokenizer, encoded) == (
        "I am fine<|im_end|> newline | Paris<|im_end|> newline "
    )


LONG = {"text": "1 2 3 4 5 6 7 8 9"}


def test_long_rows_are_cut(tokenizer: Any) -> None:
    whole = one(encoder_of(tokenizer), LONG)
    encoded = one(encoder_of(tokenizer, max_seq_length=7), LONG)
    assert encoded.ids.tolist() == whole.ids[:7].tolist()
    assert encoded.cut == len(whole) - 7


def test_long_rows_are_split_with_every_target_once(tokenizer: Any) -> None:
    whole = one(encoder_of(tokenizer), LONG)
    for limit in range(2, len(whole) + 2):
        parts = encoder_of(tokenizer, max_seq_length=limit, long_rows="split").encode(LONG)
        assert all(2 <= len(part) <= limit and not part.trained[0] for part in parts)
        targets = [i for part in parts for i in part.ids[part.trained].tolist()]
        assert targets == whole.ids[1:].tolist()
        assert not any(part.cut for part in parts)


def test_long_rows_are_dropped_or_refused(tokenizer: Any) -> None:
    assert encoder_of(tokenizer, max_seq_length=7, long_rows="drop").encode(LONG) == []
    with pytest.raises(LoraError, match=r"^x:3: the row has \d+ tokens, \d+ more than --max-seq"):
        encoder_of(tokenizer, max_seq_length=7, long_rows="error").encode(LONG, "x:3")


def test_a_row_of_just_the_length_is_whole(tokenizer: Any) -> None:
    whole = one(encoder_of(tokenizer), LONG)
    for long_rows in ("cut", "split", "drop", "error"):
        encoder = encoder_of(tokenizer, max_seq_length=len(whole), long_rows=long_rows)
        assert one(encoder, LONG).ids.tolist() == whole.ids.tolist()
