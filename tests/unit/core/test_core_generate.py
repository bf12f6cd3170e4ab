"""Text in pieces, and loading what it comes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from lora_nb.config import GenerateConfig, ModelOptions
from lora_nb.core.adapters import read_weights
from lora_nb.core.generate import _Until, generate, prompt_tokens
from lora_nb.core.load import context_of, find_model, load_base, load_words
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError

END = "<|im_end|>"


def until(pieces: list[str], mark: str = END) -> tuple[list[str], bool]:
    """What comes of the pieces, and whether the mark was found."""
    text = _Until(mark)
    out = []
    for number, piece in enumerate(pieces, start=1):
        out.append(text.feed(piece, last=number == len(pieces)))
        if text.found:
            break
    return out, text.found


@pytest.mark.parametrize(
    ("pieces", "out", "found"),
    [
        (["a", "b"], ["a", "b"], False),
        (["one<|im_end|>two"], ["one"], True),
        (["<", "|im_", "end|>", "x"], ["", "", ""], True),
        (["a<", "|im_", "x"], ["a", "", "<|im_x"], False),
        (["a<<", "|im_end|>"], ["a<", ""], True),
        (["a<|im_end|", ""], ["a", "<|im_end|"], False),
        (["x<|im_en", "<|im_end|>y"], ["x", "<|im_en"], True),
        (["", ""], ["", ""], False),
    ],
)
def test_text_is_let_through_up_to_the_mark(pieces: list[str], out: list[str], found: bool) -> None:
    assert until(pieces) == (out, found)


def test_without_a_mark_everything_passes_at_once() -> None:
    assert until(["a<", "|im_end|>"], "") == (["a<", "|im_end|>"], False)


def ready(model: Path) -> tuple[Any, Any, Any]:
    options = ModelOptions(model=str(model))
    path = find_model(options.model)
    tokenizer = load_words(path, options)
    return load_base(path, options).model, tokenizer, resolve_template(tokenizer, None)


def test_an_answer_ends_after_its_tokens_and_is_the_same_again(model: Path) -> None:
    config = GenerateConfig(prompt="how old is Bob?", max_tokens=6)
    net, tokenizer, template = ready(model)
    first, second = (list(generate(net, tokenizer, config, template)) for _ in range(2))

    assert [piece.text for piece in first] == [piece.text for piece in second]
    assert first[-1].finish_reason == "length"
    assert first[-1].generation_tokens == 6
    # One for each token, also where there is no text yet: in between, it can be given up.
    assert [piece.generation_tokens for piece in first] == [1, 2, 3, 4, 5, 6]
    assert first[-1].prompt_tokens == len(prompt_tokens(tokenizer, config, template))


def test_sampling_follows_from_its_seed(model: Path) -> None:
    net, tokenizer, template = ready(model)

    def text(seed: int) -> str:
        config = GenerateConfig(prompt="hi", max_tokens=12, temp=2.0, seed=seed)
        return "".join(piece.text for piece in generate(net, tokenizer, config, template))

    assert text(1) == text(1) != text(2)


def test_the_prompt_is_what_training_saw(model: Path) -> None:
    _, tokenizer, template = ready(model)
    config = GenerateConfig(prompt="q?", system_prompt="be kind", prefill_response="SELECT")
    assert tokenizer.decode(prompt_tokens(tokenizer, config, template)) == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nq?<|im_end|>\n"
        "<|im_start|>assistant\nSELECT"
    )
    turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]
    talk = GenerateConfig(prompt="q?", system_prompt="be kind", history=turns)
    assert tokenizer.decode(prompt_tokens(tokenizer, talk, template)) == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\na?<|im_end|>\n"
        "<|im_start|>assistant\nb.<|im_end|>\n<|im_start|>user\nq?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    plain = GenerateConfig(prompt="q?", ignore_chat_template=True)
    assert tokenizer.decode(prompt_tokens(tokenizer, plain, template)) == "q?"
    with pytest.raises(LoraError, match=r"^The prompt is empty\."):
        prompt_tokens(tokenizer, GenerateConfig(prompt=" \n"), template)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: (m / "config.json").unlink(), "has no config.json, so it is no model folder."),
        (lambda m: (m / "config.json").write_text("{"), "config.json can't be read"),
        (lambda m: (m / "config.json").write_text("{}"), "config.json names no model_type."),
        (
            lambda m: (m / "config.json").write_text('{"model_type": "xyzzy"}'),
            "can't be loaded: Model type xyzzy not supported.",
        ),
        (lambda m: (m / "model.safetensors").unlink(), "has no weights (model*.safetensors)."),
        (lambda m: (m / "model.safetensors").write_bytes(b"\0" * 20), "is damaged: its header"),
        (lambda m: (m / "tokenizer.json").write_text("{"), "can't be loaded: "),
    ],
)
def test_a_damaged_model_folder(spoil: Any, words: str, model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    spoil(copy)
    with pytest.raises(LoraError, match=r"^model: ") as caught:
        ready(copy)
    assert words in str(caught.value)


def test_names_that_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name, words in (
        ("./gone", rf"^model: \./gone does not exist \(working folder: {tmp_path}\)\."),
        ("file", r"^model: file is a file\. Give the folder that holds config\.json\."),
        ("nobody/none", r"'nobody/none' is no folder here and could not be fetched"),
    ):
        with pytest.raises(LoraError, match=words):
            find_model(name)


def test_a_half_precision_model_is_held_in_fp32_on_the_cpu(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    weights = read_weights(copy / "model.safetensors")
    half = {name: weight.astype(mx.bfloat16) for name, weight in weights.items()}
    mx.eval(half)
    mx.save_safetensors(str(copy / "model.safetensors"), half)
    loaded = load_base(copy, ModelOptions(model=str(copy)))

    assert loaded.bits == 16
    assert loaded.model.model.norm.weight.dtype == mx.float32
    assert loaded.parameters == sum(weight.size for weight in weights.values())
    assert not loaded.model.training


def test_the_context_is_read_from_the_config(model: Path) -> None:
    assert context_of(json.loads((model / "config.json").read_text())) == 256
    assert context_of({"text_config": {"max_position_embeddings": 9}}) == 9
    assert context_of({}) is None
