from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_nb.data.templates import CHATML, Template, resolve_template
from lora_nb.data.tokens import Encoder
from lora_nb.errors import LoraError
from tests.unit.data.kit import Options, byte_tokenizer, encoder_of

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "How can I assist you today."},
]


def test_the_models_own_template(tokenizer: Any) -> None:
    template = resolve_template(tokenizer, None)
    assert (template.origin, template.ending) == ("model", ())
    assert template.text == tokenizer.chat_template


def test_chatml_is_the_default(tokenizers: dict[str, Any]) -> None:
    """The text of mlx-lm's guide for a model without template."""
    tokenizer = tokenizers["none"]
    template = resolve_template(tokenizer, None)
    assert (template.origin, template.text) == ("chatml", CHATML)
    assert template.render(tokenizer, MESSAGES) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHello.<|im_end|>\n"
        "<|im_start|>assistant\nHow can I assist you today.<|im_end|>\n"
    )
    assert template.render(tokenizer, MESSAGES[:2], prompt=True).endswith(
        "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("target", ["all", "completions", "assistant"])
def test_with_chatml_the_model_learns_to_stop(tokenizers: dict[str, Any], target: str) -> None:
    tokenizer = tokenizers["none"]
    (encoded,) = encoder_of(tokenizer, train_on=target).encode({"prompt": "a", "completion": "b"})
    assert encoded.ids[-1] == tokenizer.eos_token_id
    assert encoded.trained[-1]


def test_with_chatml_no_second_eos_where_im_end_is_one() -> None:
    tokenizer = byte_tokenizer(None, eos_token="<|im_end|>")
    template = resolve_template(tokenizer, None)
    assert (template.origin, template.ending) == ("chatml", ())


def test_chatml_stays_chatml_where_it_has_been_written_down(
    tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    wanted = resolve_template(tokenizers["none"], None)
    path = tmp_path / "chat_template.jinja"
    path.write_text(CHATML + "\n")
    carried = resolve_template(tokenizers["none"], str(path))
    fused = resolve_template(byte_tokenizer(CHATML, eos_token="<|endoftext|>"), None)
    assert (carried.origin, fused.origin) == ("file", "model")
    assert wanted.ending != ()
    for each in (carried, fused):
        assert (each.text, each.ending) == (wanted.text, wanted.ending)


def test_chatml_without_any_eos() -> None:
    tokenizer = byte_tokenizer(None, eos_token="")
    assert resolve_template(tokenizer, None).ending == ()


def test_chatml_end_is_not_trained_behind_a_user_turn(tokenizers: dict[str, Any]) -> None:
    row = {"messages": MESSAGES[1:2]}
    (encoded,) = encoder_of(tokenizers["none"], train_on="assistant").encode(row)
    assert not encoded.trained.any()


def test_a_file_wins(tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}ü", "utf-8")
    template = resolve_template(tokenizer, str(path))
    assert template.origin == "file"
    assert template.render(tokenizer, MESSAGES[1:2]) == "[user: Hello.]ü"
    assert template.tokens(tokenizer, MESSAGES[1:2]) == tokenizer.encode("[user: Hello.]ü")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, r"t\.jinja: cannot be read \(No such file or directory\)"),
        (b"", r"t\.jinja: is empty"),
        (b" \n", r"t\.jinja: is empty"),
        (b"\xff\xfe{", r"t\.jinja: is not UTF-8 text"),
        (b"a\n{% for m in messages %}\n", r"t\.jinja:\d: is not valid Jinja"),
        (b"{{ messages | nosuchfilter }}", r"t\.jinja.*nosuchfilter"),
    ],
)
def test_bad_template_files(
    tokenizer: Any, tmp_path: Path, raw: bytes | None, message: str
) -> None:
    path = tmp_path / "t.jinja"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(LoraError, match=message):
        resolve_template(tokenizer, str(path))


def test_generation_tags_are_known(tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    template = resolve_template(tokenizer, str(path))
    assert template.render(tokenizer, MESSAGES[1:2]) == "Hello."


def test_a_refusing_template_names_row_and_reason(tokenizers: dict[str, Any]) -> None:
    encoder = encoder_of(tokenizers["gemma"])
    with pytest.raises(LoraError) as caught:
        encoder.encode({"messages": MESSAGES}, "train.jsonl:4")
    assert str(caught.value) == (
        "train.jsonl:4: the chat template refuses these messages (System role not supported). "
        "Change the row, or give another template with --chat-template."
    )


def test_a_role_that_the_template_names_is_known(tokenizers: dict[str, Any]) -> None:
    text = (
        "{% for m in messages %}{% if m.role == 'critic' %}C{% endif %}{{ m.content }}{% endfor %}"
    )
    encoder = Encoder(tokenizers["chatml"], Options(), Template(text, "file"))
    row = {"messages": [{"role": "critic", "content": "a"}]}
    assert encoder.encode(row)[0].kind == "chat"
    with pytest.raises(LoraError, match="unknown role 'critic'"):
        encoder_of(tokenizers["chatml"]).encode(row)


def test_a_wrapper_that_renders_itself_steps_aside_for_a_file(tokenizer: Any) -> None:
    utils = pytest.importorskip("mlx_lm.tokenizer_utils")

    def own(messages: Any, **options: Any) -> str:
        return f"own {messages[0]['content']}"

    wrapper = utils.TokenizerWrapper(byte_tokenizer(None), chat_template=own)
    model = resolve_template(wrapper, None)
    assert (model.origin, model.text) == ("model", None)
    assert model.render(wrapper, MESSAGES[1:2]) == "own Hello."
    assert Template("{{ messages[0].role }}", "file").render(wrapper, MESSAGES[1:2]) == "user"
