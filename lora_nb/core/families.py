"""What mlx-lm gets wrong about a model's config, mended before the model is built.

mlx-lm itself is not edited: a config is handed to it with further keys, and one module takes the
place of its own in this process. What no key can mend, `corrections` does.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_lm.utils import MODEL_REMAPPING

from lora_nb.core import olmo
from lora_nb.core.rope_keys import (
    ROPE_PARAMETERS,
    Change,
    Config,
    refuse_unknown_rope,
    rope_changes,
    wrong,
)
from lora_nb.errors import LoraError

__all__ = ["Mended", "install", "mended", "tensor_names", "text_of"]


# What a key means that a config leaves out, where mlx-lm thinks otherwise. Source: transformers.
_LEFT_OUT: dict[str, Config] = {
    "gemma2": {"query_pre_attn_scalar": 256},
    "gemma3_text": {"sliding_window": 4096},
    "phi": {"partial_rotary_factor": 0.5},
    "qwen2": {"rope_theta": 10_000.0},
    "qwen3": {"rope_theta": 10_000.0},
}

# Keys that mlx-lm doesn't read, with the values it computes.
_SILU = {"hidden_act": ("silu", "swish")}
_TANH = ("gelu_pytorch_tanh", "gelu_new")
_GEMMA: dict[str, tuple[Any, ...]] = {
    "hidden_activation": _TANH,
    "use_bidirectional_attention": (False,),
}
_COMPUTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": _SILU,
    "mistral": _SILU,
    "mixtral": _SILU,
    "olmo": _SILU,
    "olmo2": _SILU,
    "phi": {"hidden_act": _TANH, "qk_layernorm": (False,)},
    "phi3": _SILU,
    "qwen2": _SILU,
    "qwen3": _SILU,
    # An old release of Gemma says gelu and means the tanh form.
    "gemma": {**_GEMMA, "hidden_act": (*_TANH, "gelu")},
    "gemma2": _GEMMA,
    "gemma3_text": {**_GEMMA, "attn_logit_softcapping": (), "final_logit_softcapping": ()},
}


@dataclass(frozen=True)
class Mended:
    """Keys to lay over a config, and what to say about them."""

    updates: Config = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def install() -> None:
    """Put our OLMo where mlx-lm looks for its own, which can't be imported."""
    for name in ("olmo", "hf_olmo"):
        sys.modules[f"mlx_lm.models.{name}"] = olmo


def text_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that tells of the text model: all of it, or `text_config`."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) and "model_type" in inner else config


def mended(path: Path, config: Config) -> Mended:
    """What to change in the config of the model in `path`.

    Raises LoraError for a model that mlx-lm would compute wrongly all the same.
    """
    inner = text_of(config)
    if inner is config:
        return _mended(path, config)
    found = _mended(path, dict(inner))
    updates: Config = {}
    if found.updates:
        updates["text_config"] = {**inner, **found.updates}
    if "vocab_size" in inner and "vocab_size" not in config:
        updates["vocab_size"] = inner["vocab_size"]
    return Mended(updates, found.notes)


def _mended(path: Path, config: Config) -> Mended:
    known = _known_keys(config)
    updates: Config = {}
    notes: list[str] = []
    changes = (
        *rope_changes(config, known),
        *_left_out(config),
        *_head(path, config, known),
        *_pattern(config, known),
    )
    for key, value, note in changes:
        updates.setdefault(key, value)
        if note:
            notes.append(note)
    refuse_unknown_rope(config | updates, known)
    _refuse_unread(config | updates)
    return Mended(updates, notes)


def _left_out(config: Config) -> Iterator[Change]:
    """Keys whose defaults differ between mlx-lm and transformers."""
    for key, value in _LEFT_OUT.get(config.get("model_type", ""), {}).items():
        in_rope = (config.get(ROPE_PARAMETERS) or {}).get(key)
        if key not in config and in_rope is None:
            yield key, value, f"The config leaves out {key}; it is taken as {value}."


def _head(path: Path, config: Config, known: set[str]) -> Iterator[Change]:
    """Whether the model has a head of its own, for configs that leave it to a default."""
    if config.get("tie_word_embeddings") is not None or "tie_word_embeddings" not in known:
        return
    names = tensor_names(path)
    if not names:
        return
    if any(name.endswith("lm_head.weight") for name in names):
        yield (
            "tie_word_embeddings",
            False,
            "The model has a head of its own, which its config does not say; it is used.",
        )
    elif "d_model" not in config:
        yield "tie_word_embeddings", True, ""


def _pattern(config: Config, known: set[str]) -> Iterator[Change]:
    """Which blocks have a window, under the name that mlx-lm reads: every n-th has none."""
    key = "sliding_window_pattern"
    if key not in known:
        return
    blocks = config.get("num_hidden_layers", 26)
    every = config.get(key) or config.get("_sliding_window_pattern") or 6
    kinds = config.get("layer_types")
    if kinds:
        whole = [number for number, kind in enumerate(kinds, 1) if kind == "full_attention"]
        every = whole[0] if whole else blocks + 1
        if whole != list(range(every, len(kinds) + 1, every)) or len(kinds) != blocks:
            raise LoraError(
                f"model: the windows of its blocks (layer_types) follow no regular pattern, and "
                f"mlx-lm's {config['model_type']} computes no other. The results would be wrong."
            )
    if every > blocks:
        raise LoraError(
            f"model: none of its {blocks} blocks sees the whole text (layer_types), and mlx-lm's "
            f"{config['model_type']} needs one that does."
        )
    if config.get(key) != every and every != 6:
        yield key, every, f"One block in {every} sees the whole text, as layer_types says."


def _refuse_unread(config: Config) -> None:
    """Refuse what a config asks for in keys that the family's code doesn't read."""
    family = config.get("model_type", "")
    for key, computed in _COMPUTED.get(family, {}).items():
        value = config.get(key)
        if value is not None and value not in computed:
            raise wrong(config, f"{key} = {value}")
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if family == "gemma2" and key in config and not config[key]:
            raise LoraError(
                f"model: its config turns {key} off, but mlx-lm's gemma2 can't do without it."
            )


def _known_keys(config: Config) -> set[str]:
    """The config keys that the family's code reads; none if there is no such family."""
    name = config.get("model_type", "")
    try:
        module = importlib.import_module(f"mlx_lm.models.{MODEL_REMAPPING.get(name, name)}")
        return {f.name for f in dataclasses.fields(module.ModelArgs)}
    except (ImportError, AttributeError, TypeError):
        return set()


def tensor_names(path: Path) -> set[str]:
    """The names of all tensors of a model folder; none if they can't be read."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()
    return {name for file in path.glob("model*.safetensors") for name in _names_in(file)}


def _names_in(file: Path) -> Iterable[str]:
    """The tensor names in the header of a safetensors file (8 bytes of length, then JSON)."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > 100_000_000:
                return ()
            header = json.loads(stream.read(length))
    except (OSError, ValueError):
        return ()
    return header.keys() if isinstance(header, dict) else ()
