"""Tiny models of many families with random weights, tokenizers of each kind, and mixed text."""

from __future__ import annotations

import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.utils import _get_classes

from lora_nb.config import ModelOptions
from lora_nb.core import families
from lora_nb.core.load import load_base, load_words
from lora_nb.core.trees import flat

__all__ = ["ids_of", "lines", "make", "scores_of"]

VOCAB = 512
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AFTER = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_AFTER}"
QWEN2 = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_AFTER}"

_TEXT = (
    "the model reads a line of text and answers with tokens Hello World don't we'll they're I'M "
    "können Straße größer naïve café Ærø übermäßig Müller "
    "日本語 漢字かな 中文字符 한국어 "
    "русский текст Ελληνικά עברית العربية हिन्दी "
    "🙂 👍🏽 🇩🇪 ❤️ def return lambda x_1 fooBar HTTPServer snake_case"
)
_WORDS = _TEXT.split()
_SIGNS = ["!", "?", "...", ", ", " - ", "\u2013", "(", ")", "[x]", "{}", "#", "€", "$5", "%", "'s"]
_GAPS = [" ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "", "\r\n", "\u00a0"]

_USUAL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": VOCAB,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


@functools.cache
def lines(count: int = 320) -> list[str]:
    """Lines of words, numbers, signs and gaps, in composed characters, none of them blank."""
    pick = random.Random(7)
    found: list[str] = []
    while len(found) < count:
        parts: list[str] = []
        for _ in range(pick.randint(1, 12)):
            chosen = pick.random()
            if chosen < 0.6:
                parts.append(pick.choice(_WORDS))
            elif chosen < 0.75:
                parts.append(str(pick.randint(0, 10 ** pick.randint(1, 9))))
            else:
                parts.append(pick.choice(_SIGNS))
            parts.append(pick.choice(_GAPS))
        line = "".join(parts)
        if line.strip():
            found.append(line)
    return found


def byte_level(folder: Path, regex: str = "", *, digits: bool = False, **more: Any) -> None:
    """Train a byte-level BPE tokenizer; without a regex it cuts text as GPT-2's does."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(ignore_merges=more.get("ignore_merges", False)))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not regex)]
    if regex:
        steps.insert(0, pre_tokenizers.Split(Regex(regex), "isolated"))
    if digits:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - 4,
        special_tokens=["<|pad|>", "<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(lines() * 3, trainer)
    backend.add_special_tokens([AddedToken("<|im_start|>", special=True, normalized=False)])
    backend.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    if more.get("bos"):
        from tokenizers import processors

        backend.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", 1)]
        )
    backend.save(str(folder / "tokenizer.json"))
    _settings(folder, "PreTrainedTokenizerFast", "<|begin|>", "<|end|>", "<|pad|>")


def sentence_pieces(folder: Path, *, keep_model: bool, prefix: bool = True) -> None:
    """Train a SentencePiece tokenizer with pieces for bytes, and write its tokenizer.json."""
    import sentencepiece
    from transformers import GemmaTokenizer, LlamaTokenizer

    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(line.split()) for line in lines()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=VOCAB,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    kind: Any = LlamaTokenizer if prefix else GemmaTokenizer
    words = kind.from_pretrained(str(folder))
    words.save_pretrained(str(folder))
    text.unlink()
    (folder / "tokenizer.vocab").unlink()
    if not keep_model:
        (folder / "tokenizer.model").unlink()


def pieces_by_chance(folder: Path, *, prefix: bool) -> None:
    """Train a tokenizer that cuts text in the likeliest way, and write its tokenizer.json."""
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(line.split()) for line in lines()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "trained"),
        vocab_size=VOCAB - 100,
        model_type="unigram",
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_file=str(folder / "trained.model"))
    count = trained.get_piece_size()
    pieces = [(trained.id_to_piece(n), trained.get_score(n)) for n in range(count)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    scheme: Any = "always" if prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace("\u2581", prepend_scheme=scheme)
    marks = ("<s>", "</s>", "<|im_start|>")
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    backend.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    backend.save(str(folder / "tokenizer.json"))
    for path in (text, folder / "trained.model", folder / "trained.vocab"):
        path.unlink()
    _settings(folder, "PreTrainedTokenizerFast", "<s>", "</s>", "</s>")


def as_before(folder: Path) -> None:
    """Rewrite a SentencePiece tokenizer.json as transformers 4 did: a space before each text."""
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    told["pre_tokenizer"] = None
    told["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }
    path.write_text(json.dumps(told))
    _settings(folder, "PreTrainedTokenizerFast", "<s>", "</s>", "</s>")


def _settings(folder: Path, kind: str, bos: str, eos: str, pad: str) -> None:
    told = {
        "tokenizer_class": kind,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


@functools.cache
def _words_folder(base: Path, kind: str) -> Path:
    folder = base / f"words-{kind}"
    folder.mkdir()
    if kind == "spm":
        sentence_pieces(folder, keep_model=True)
    elif kind == "spm-json":
        sentence_pieces(folder, keep_model=False)
    elif kind == "spm-before":
        sentence_pieces(folder, keep_model=True)
        as_before(folder)
    elif kind == "spm-bare":
        sentence_pieces(folder, keep_model=True, prefix=False)
    elif kind.startswith("unigram"):
        pieces_by_chance(folder, prefix=kind == "unigram")
    elif kind == "llama3":
        byte_level(folder, LLAMA3, ignore_merges=True, bos=True)
    elif kind == "cl100k":
        byte_level(folder, LLAMA3)
    elif kind == "qwen2":
        byte_level(folder, QWEN2)
    elif kind == "digits":
        byte_level(folder, digits=True)
    else:
        byte_level(folder)
    return folder


def with_words(base: Path, folder: Path, kind: str) -> None:
    """Copy a tokenizer of a kind into a model folder."""
    for file in _words_folder(base, kind).iterdir():
        shutil.copyfile(file, folder / file.name)


def make(base: Path, name: str, family: str, words: str, drop: str = "", **changes: Any) -> Path:
    """A model folder of a family with random weights; `drop` names keys left out of its config."""
    folder = base / name
    folder.mkdir()
    config = {**_USUAL, "model_type": family, **changes}
    config = {key: value for key, value in config.items() if key not in drop.split()}
    (folder / "config.json").write_text(json.dumps(config))
    with_words(base, folder, words)
    mended = families.mended(folder, dict(config)).updates
    model_class, args_class = _get_classes({**config, **mended})
    model = model_class(args_class.from_dict({**config, **mended}))
    if config.get("tie_word_embeddings") and "lm_head" in model:
        model.pop("lm_head")
    stream = np.random.default_rng(sum(map(ord, name)))
    # Gemma's norms multiply by one more than their weight.
    norm = 0.0 if family.startswith("gemma") else 1.0
    weights = {
        key: mx.array(_stirred(key, weight.shape, norm, stream))
        for key, weight in flat(model.parameters()).items()
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return folder


def _stirred(name: str, shape: tuple[int, ...], norm: float, stream: np.random.Generator) -> Any:
    noise = stream.standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        return (0.2 * noise + (norm if "norm" in name and "bias" not in name else 0)).astype("f4")
    scale = 0.1 if "embed" in name else 1.2 / np.sqrt(shape[-1])
    if name.endswith("moe.gate.weight"):
        # A router that is sure of its choice makes the same one after a rounding.
        scale *= 8
    # What f16 can hold, so that rounding the weights is no part of what is compared.
    return (noise * scale).astype(np.float16).astype(np.float32)


def ids_of(folder: Path, texts: list[str]) -> list[list[int]]:
    """The tokens that Hugging Face's tokenizer makes of each text."""
    words: Any = load_words(folder, ModelOptions(model=str(folder)))
    return [[int(number) for number in words._tokenizer.encode(text)] for text in texts]


def scores_of(folder: Path, ids: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Our log-probabilities behind each token."""
    loaded = load_base(folder, ModelOptions(model=str(folder)))
    logits = loaded.model(mx.array([ids]))[0].astype(mx.float32)
    return np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
