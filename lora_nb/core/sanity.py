"""Whether a model's config can be that of its weights, before anything is built from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_nb.core.model_files import Weights
from lora_nb.errors import LoraError

__all__ = ["check_config", "check_size"]

Config = Mapping[str, Any]

_FAMILY = re.compile(r"[\w.-]{1,64}")
_BLOCKS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_blocks", "n_blocks")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "model_dim")
_INNER = ("intermediate_size", "ffn_dim", "mlp_hidden_size", "n_inner")
_WORDS = ("vocab_size",)
_POSITIVE = ("max_position_embeddings", "rms_norm_eps", "rope_theta")
_LARGEST = 2**40


def check_config(path: Path, config: Config) -> None:
    """Raise LoraError for a config whose parts are not even of the right kind."""
    where = path / "config.json"
    _check_ends(where, config.get("eos_token_id"))
    if "model_type" not in config:
        raise LoraError(f"model: {where} names no model_type.")
    for part in _parts(config, where):
        family = part.get("model_type", "")
        if not isinstance(family, str) or (family and not _FAMILY.fullmatch(family)):
            raise LoraError(f"model: {where} names no family of models (model_type: {family!r}).")
        for key, value in part.items():
            if key in (*_BLOCKS, *_WIDTHS, *_WORDS) and not _is_count(value):
                raise LoraError(f"model: {where}: {key} is {value!r}, which is no count.")
            if key in _POSITIVE and not _is_positive(value):
                raise LoraError(f"model: {where}: {key} is {value!r}; it must be above 0.")


def _check_ends(where: Path, ends: Any) -> None:
    given = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(end) is int and 0 <= end < _LARGEST for end in given):
        raise LoraError(f"model: {where}: eos_token_id is {ends!r}, which is no token.")


def _parts(config: Config, where: Path) -> list[Config]:
    inner = config.get("text_config")
    if inner is not None and not isinstance(inner, Mapping):
        raise LoraError(f"model: {where}: text_config is no JSON object.")
    return [config, inner] if inner else [config]


def _is_positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (number and 0 < value < math.inf)


def _is_count(value: Any) -> bool:
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST
    )


def check_size(path: Path, config: Config, held: Weights) -> None:
    """Raise LoraError if the config asks for more than the weight files can hold.

    Building a model of millions of blocks would take hours and all memory.
    """
    for part in _parts(config, path / "config.json"):
        blocks, width = _first(part, _BLOCKS), _first(part, _WIDTHS)
        if blocks > held.tensors:
            raise _too_much(path, f"{blocks:,} blocks", f"{held.tensors:,} tensors")
        needed = {
            f"{blocks:,} blocks of width {width:,}": blocks * width,
            f"a vocabulary of {_first(part, _WORDS):,} words of width {width:,}": (
                _first(part, _WORDS) * width
            ),
            f"a width of {_first(part, _INNER):,} by {width:,}": _first(part, _INNER) * width,
        }
        for what, least in needed.items():
            if least > held.numbers:
                raise _too_much(path, what, f"at most {held.numbers:,} parameters")


def _first(part: Config, keys: tuple[str, ...]) -> int:
    """The first of these keys that is there as a count; 0 if there is none."""
    found = (part.get(key) for key in keys)
    return next((value for value in found if value is not None and _is_count(value)), 0)


def _too_much(path: Path, asked: str, there: str) -> LoraError:
    return LoraError(
        f"model: {path / 'config.json'} asks for {asked}, but the weight files hold {there}. "
        "Config and weights don't belong together, or files are missing."
    )
