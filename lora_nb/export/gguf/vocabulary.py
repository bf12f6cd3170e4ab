"""A tokenizer as llama.cpp wants it: tokens with types, and merges or scores to build them by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
from gguf import TokenType

from lora_nb.config import ModelOptions
from lora_nb.core.load import load_words
from lora_nb.errors import LoraError
from lora_nb.export.gguf import unigram
from lora_nb.export.gguf.normalizer import check_steps, parts
from lora_nb.export.gguf.pieces import FAR, merges_of, piece_scores
from lora_nb.export.gguf.pretokenizer import pretokenizer_of
from lora_nb.export.gguf.source import Source

__all__ = ["Vocabulary", "add_vocabulary", "vocabulary_of"]

_SPACE = "\u2581"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass
class Vocabulary:
    """Tokens by number, their types and scores, and how text is cut and merged into them."""

    kind: str
    tokens: list[str]
    types: list[TokenType]
    scores: list[float]
    merges: list[str]
    pre: str
    special: dict[str, int | bool]
    name: str
    template: str | None
    notes: list[str] = field(default_factory=list)


def vocabulary_of(source: Source) -> Vocabulary:
    """The tokenizer of a model folder, with a token for each row of the model's embeddings.

    Raises LoraError for a tokenizer that llama.cpp can't have, or that has more tokens than rows.
    """
    words: Any = load_words(source.folder, ModelOptions(model=str(source.folder)))
    backend = getattr(words, "backend_tokenizer", None)
    if backend is None:
        raise LoraError(f"gguf: the tokenizer in {source.folder} has no tokenizer.json.")
    told: dict[str, Any] = json.loads(backend.to_str())
    kind, given = told["model"].get("type"), told
    if kind == unigram.KIND:
        told = unigram.numbered(given)
    elif kind != "BPE":
        raise LoraError(
            f"gguf: a tokenizer of the kind {kind} is not exported; those that merge pairs (BPE), "
            f"byte by byte or as SentencePiece does, and those of the kind {unigram.KIND} are."
        )
    said = "" if kind == unigram.KIND else check_steps(told, byte_level=_is_byte_level(told))
    tokens = _tokens(told, int(source.config["vocab_size"]))
    types = _types(told, tokens)
    special, name = _special(words, source), _name(source, told)
    made = Vocabulary("", tokens, types, [], [], "", special, name, _template(words))
    made.notes += [said] if said else []
    if kind == unigram.KIND:
        made.kind, made.pre = "t5", "default"
        made.special |= {"merge_spaces": False, "unk": int(given["model"]["unk_id"])}
        made.scores = unigram.scores_of(given, len(tokens), FAR)
        _prefix(told, made)
    elif _is_byte_level(told):
        made.kind = "gpt2"
        made.merges = [" ".join(pair) for pair in merges_of(told)]
        made.pre, note = pretokenizer_of(told)
        made.notes += [note] if note else []
    else:
        made.kind, made.pre = "llama", "default"
        made.scores, note = piece_scores(source.folder, told, tokens)
        made.notes += [note] if note else []
        _prefix(told, made)
    return made


def _prefix(told: Mapping[str, Any], made: Vocabulary) -> None:
    """Whether a space is put before each text, and what to say about it."""
    made.special["space_prefix"] = _has_space_prefix(told)
    if made.special["space_prefix"] and not _prepends(told):
        made.notes.append(
            "A text that begins with a space gets one more space in llama.cpp than in "
            "transformers; all others get the same tokens."
        )


def add_vocabulary(writer: gguf.GGUFWriter, words: Vocabulary) -> None:
    """Write a tokenizer's part of the metadata."""
    writer.add_name(words.name)
    writer.add_tokenizer_model(words.kind)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores:
        writer.add_token_scores(words.scores)
    if words.merges:
        writer.add_token_merges(words.merges)
    numbers = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "eot": writer.add_eot_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    switches = {
        "add_bos": writer.add_add_bos_token,
        "add_eos": writer.add_add_eos_token,
        "space_prefix": writer.add_add_space_prefix,
        "merge_spaces": writer.add_remove_extra_whitespaces,
    }
    for name, value in words.special.items():
        if name in numbers:
            numbers[name](value)
        else:
            switches[name](bool(value))
    if words.template:
        writer.add_chat_template(words.template)


def _tokens(told: Mapping[str, Any], rows: int) -> list[str]:
    numbers = {number: token for token, number in told["model"]["vocab"].items()}
    added = {entry["id"]: entry["content"] for entry in told.get("added_tokens") or ()}
    numbers |= added
    if max(numbers) >= rows:
        raise LoraError(
            f"gguf: the tokenizer has tokens up to number {max(numbers)}, but the model has rows "
            f"for {rows} only."
        )
    return [numbers.get(number, f"[PAD{number}]") for number in range(rows)]


def _types(told: Mapping[str, Any], tokens: list[str]) -> list[TokenType]:
    vocabulary = told["model"].get("vocab") or {}
    # Bytes have a type of their own only where words are spelled as they are.
    bytes_typed = not _is_byte_level(told)
    types: list[TokenType] = []
    for number, token in enumerate(tokens):
        if vocabulary.get(token) != number:
            types.append(TokenType.UNUSED)
        elif bytes_typed and _BYTE.fullmatch(token):
            types.append(TokenType.BYTE)
        elif bytes_typed and token in (told["model"].get("unk_token"), "<unk>"):
            types.append(TokenType.UNKNOWN)
        else:
            types.append(TokenType.NORMAL)
    for entry in told.get("added_tokens") or ():
        if types[entry["id"]] in (TokenType.UNKNOWN, TokenType.BYTE):
            continue
        special = TokenType.CONTROL if entry.get("special") else TokenType.USER_DEFINED
        types[entry["id"]] = special
        if bytes_typed and not entry.get("special"):
            # llama.cpp looks for these in the text as it is.
            tokens[entry["id"]] = entry["content"].replace(_SPACE, " ")
    return types


def _special(words: Any, source: Source) -> dict[str, int | bool]:
    """The numbers of the tokens with a meaning, and which of them are put around each text."""
    found: dict[str, int | bool] = {}
    for name in ("bos", "eos", "unk", "pad"):
        number = getattr(words, f"{name}_token_id", None)
        if isinstance(number, int) and number < int(source.config["vocab_size"]):
            found[name] = number
    ends = _ends(source)
    found.setdefault("eos", ends[0] if ends else 0)
    turn = [number for number in ends if number != found["eos"]]
    if turn:
        found["eot"] = turn[0]
    ids = list(words.encode("a"))
    found["add_bos"] = bool(ids) and ids[0] == found.get("bos", -1)
    found["add_eos"] = len(ids) > 1 and ids[-1] == found["eos"]
    return found


def _name(source: Source, told: Mapping[str, Any]) -> str:
    """The model's name, which tells llama.cpp whether special tokens take the spaces behind them.

    It takes that from `phi-3` in the name, and ends if some tokens of Phi 3 are not there.
    """
    name = source.folder.resolve().name
    strips = {t["content"]: bool(t.get("rstrip")) for t in told.get("added_tokens") or ()}
    known = all(token in strips for token in ("</s>", "<unk>", "<s>", "<|endoftext|>"))
    if known and strips["</s>"] and source.name == "phi3":
        return name if "phi-3" in name.lower() else f"phi-3 {name}"
    return re.sub(r"(?i)(phi)(-?)(3)", r"\1_\3", name)


def _ends(source: Source) -> list[int]:
    """The tokens that end an answer, of generation_config.json, else of the config."""
    path = source.folder / "generation_config.json"
    told: Any = None
    if path.is_file():
        try:
            told = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            told = None
    told = source.config.get("eos_token_id") if told is None else told
    return [n for n in (told if isinstance(told, list) else [told]) if isinstance(n, int)]


def _template(words: Any) -> str | None:
    template = getattr(words, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def _is_byte_level(told: Mapping[str, Any]) -> bool:
    steps = [*parts(told.get("pre_tokenizer")), *parts(told.get("decoder"))]
    return any(step.get("type") == "ByteLevel" for step in steps)


def _has_space_prefix(told: Mapping[str, Any]) -> bool:
    if _prepends(told):
        return True
    steps = [s for s in parts(told.get("pre_tokenizer")) if s.get("type") == "Metaspace"]
    return bool(steps) and steps[0].get("prepend_scheme", "always") != "never"


def _prepends(told: Mapping[str, Any]) -> bool:
    """Whether a space is put before each text, also before one that begins with a space."""
    return any(step.get("type") == "Prepend" for step in parts(told.get("normalizer")))
