"""Find and load a model and its tokenizer, with clear words when that can't be done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import psutil
from mlx.utils import tree_map
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.utils import (
    compute_bits_per_weight,
    dequantize_model,
    get_total_parameters,
    load_config,
    load_model,
    load_tokenizer,
)

from lora_nb.config import ModelOptions
from lora_nb.core import families
from lora_nb.core.corrections import correct
from lora_nb.core.olmo_layout import readable_tokenizer
from lora_nb.core.trees import flat
from lora_nb.errors import LoraError

__all__ = ["Loaded", "context_of", "find_model", "load_base", "load_words", "on_cpu"]


# A quantised weight takes at most 8 bits, and half a bit more for scales and biases.
_PLAIN_BITS = 12
_MEMORY_SHARE = 0.5

families.install()


@dataclass
class Loaded:
    """A model ready for use: its folder, its config, and how many bits a weight has on disk.

    `packed` has the bits of each layer that is quantised there, `notes` say what was mended, or is
    slow, and why.
    """

    model: nn.Module
    path: Path
    config: dict[str, Any]
    parameters: int
    bits: float
    notes: list[str] = field(default_factory=list)
    packed: dict[str, int] = field(default_factory=dict)


def on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device() == mx.Device(mx.DeviceType.cpu))


def find_model(name: str) -> Path:
    """The folder of a model: the embedded one, a local one, or one fetched from the Hub.

    Raises LoraError if it isn't there, can't be fetched or has no config.json.
    """
    if name == "demo":
        from lora_nb.demo import MODEL_PATH

        return MODEL_PATH
    path = Path(name).expanduser()
    if not path.exists():
        path = _fetch(name)
    if path.is_file():
        raise LoraError(f"model: {name} is a file. Give the folder that holds config.json.")
    if not (path / "config.json").is_file():
        raise LoraError(f"model: {name} has no config.json, so it is no model folder.")
    return path


def _fetch(name: str) -> Path:
    from lora_nb.data.sources import looks_like_path

    if looks_like_path(name):
        raise LoraError(f"model: {name} does not exist (working folder: {Path.cwd()}).")
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from mlx_lm.utils import _download

    try:
        return Path(_download(name))
    except HFValidationError:
        raise LoraError(
            f"model: '{name}' is neither a folder here nor a Hugging Face name (owner/name)."
        ) from None
    except (HfHubHTTPError, OSError) as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else repr(problem)
        raise LoraError(
            f"model: '{name}' is no folder here and could not be fetched from the Hugging Face "
            f"Hub: {reason} Check the name, the network, and the token for gated models."
        ) from None


def load_words(path: Path, options: ModelOptions) -> TokenizerWrapper:
    """The tokenizer of a model folder. Raises LoraError if it can't be built."""
    config = _read_config(path)
    try:
        with readable_tokenizer(path, config) as folder:
            words: TokenizerWrapper = load_tokenizer(
                folder,
                {"trust_remote_code": options.trust_remote_code},
                eos_token_ids=config.get("eos_token_id"),
            )
    except Exception as problem:  # transformers' many tokenizer classes raise anything
        raise LoraError(f"model: the tokenizer in {path} can't be loaded: {problem}") from problem
    return words


def load_base(
    path: Path, options: ModelOptions, *, lazy: bool = False, as_is: bool = False
) -> Loaded:
    """The model in a folder, in evaluation mode; on the CPU with fp32 weights unless `as_is`.

    Raises LoraError if the model is unknown to mlx-lm, damaged, would be computed wrongly, or
    wants code of its own to run.
    """
    mend = families.mended(path, _read_config(path))
    try:
        model, config = load_model(
            path,
            lazy=True,
            model_config=mend.updates,
            trust_remote_code=options.trust_remote_code,
        )
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as problem:
        raise LoraError(f"model: {path} can't be loaded: {_first_line(problem)}") from problem
    loaded = Loaded(
        model,
        path,
        config,
        int(get_total_parameters(model)),
        float(compute_bits_per_weight(model)),
        [*mend.notes, *correct(model, families.text_of(config))],
        {name: m.bits for name, m in model.named_modules() if "scales" in m and "bits" in vars(m)},
    )
    if on_cpu() and not as_is:
        _suit_cpu(loaded)
    if not lazy:
        mx.eval(loaded.model.parameters())
    return loaded


def _suit_cpu(loaded: Loaded) -> None:
    """Hold weights as fp32: other products don't go through BLAS, and are 20 to 90 times slower.

    Quantised weights become the fp32 numbers they stand for, if there is memory for that, so the
    results are the same.
    """
    model = loaded.model
    model.update(tree_map(_as_fp32, model.parameters()))
    if loaded.bits >= _PLAIN_BITS:
        return
    needed = 4 * loaded.parameters
    if needed > _MEMORY_SHARE * psutil.virtual_memory().available:
        loaded.notes.append(
            f"Too little memory ({needed / 1e9:.1f} GB) to hold the quantised weights as fp32: "
            "on this CPU the model will be slow."
        )
        return
    loaded.model = dequantize_model(model)
    # The block formats come out as bfloat16.
    loaded.model.update(tree_map(_as_fp32, loaded.model.parameters()))
    loaded.model.eval()


def _as_fp32(weight: mx.array) -> mx.array:
    return weight.astype(mx.float32) if mx.issubdtype(weight.dtype, mx.floating) else weight


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = load_config(path)
    except (OSError, json.JSONDecodeError) as problem:
        raise LoraError(f"model: {path / 'config.json'} can't be read: {problem}.") from None
    if "model_type" not in config:
        raise LoraError(f"model: {path / 'config.json'} names no model_type.")
    return config


def _first_line(problem: Exception) -> str:
    text = str(problem).strip()
    if isinstance(problem, KeyError):
        return f"config.json lacks {text}."
    return text.splitlines()[0] if text else repr(problem)


def context_of(config: dict[str, Any]) -> int | None:
    """The longest row in tokens that the model was made for, if its config says so."""
    for source in (config, config.get("text_config") or {}):
        context = source.get("max_position_embeddings") or source.get("max_sequence_length")
        if isinstance(context, int) and context > 0:
            return context
    return None


def trainable_of(model: nn.Module) -> int:
    """The number of parameters that training changes."""
    return sum(weight.size for weight in flat(model.trainable_parameters()).values())
