"""Find and load a model and its tokenizer, with clear words when that can't be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import mlx.core as mx
import mlx.nn as nn
import psutil
from mlx.utils import tree_map
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.utils import (
    _get_classes,
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
from lora_nb.core.model_files import check_folder, read_json, weights_of
from lora_nb.core.olmo_layout import readable_tokenizer
from lora_nb.core.sanity import check_config, check_size
from lora_nb.core.tokenizer_check import check_settings, try_out
from lora_nb.core.trees import flat
from lora_nb.core.trust import agreed, refusal
from lora_nb.data.limits import TooMuchError, bounded
from lora_nb.errors import LoraError

__all__ = ["Loaded", "context_of", "find_model", "load_base", "load_words", "on_cpu"]


# A quantised weight takes at most 8 bits, and half a bit more for scales and biases.
_PLAIN_BITS = 12
_MEMORY_SHARE = 0.5
_BUILD_SECONDS = 60.0
_LONGEST = 300

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
    """The tokenizer of a model folder.

    Raises LoraError if it can't be built or used, or if code would run that isn't agreed to.
    """
    config = _read_config(path)
    trusted = agreed(path, options)
    check_settings(path)
    try:
        with readable_tokenizer(path, config) as folder:
            words: TokenizerWrapper = load_tokenizer(
                folder,
                {"trust_remote_code": trusted},
                eos_token_ids=config.get("eos_token_id"),
            )
        try_out(words)
    # transformers' many tokenizer classes raise anything, and the one below them can panic.
    except BaseException as problem:  # noqa: BLE001
        _explain(problem, f"the tokenizer in {path}", path, trusted)
    return words


def load_base(
    path: Path, options: ModelOptions, *, lazy: bool = False, as_is: bool = False
) -> Loaded:
    """The model in a folder, in evaluation mode; on the CPU with fp32 weights unless `as_is`.

    Raises LoraError if the model is unknown to mlx-lm, damaged, would be computed wrongly, or
    wants code of its own to run that isn't agreed to.
    """
    config = _read_config(path)
    trusted = agreed(path, options)
    if config.get("model_file") is not None and not trusted:
        raise refusal(path) or LoraError(f"model: {path} names code that isn't there.")
    check_size(path, config, weights_of(path))
    try:
        mend = families.mended(path, config)
        model, config = load_model(
            path,
            lazy=True,
            model_config=mend.updates,
            get_model_classes=_classes,  # type: ignore[arg-type]  # it only calls what it gets
            trust_remote_code=trusted,
        )
        notes = [*mend.notes, *correct(model, families.text_of(config))]
    except BaseException as problem:  # noqa: BLE001 (told in our words, or raised again)
        _explain(problem, str(path), path, trusted)
    loaded = Loaded(
        model,
        path,
        config,
        int(get_total_parameters(model)),
        float(compute_bits_per_weight(model)),
        notes,
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


def _classes(config: dict[str, Any]) -> tuple[Callable[[Any], nn.Module], Any]:
    """mlx-lm's classes for a config; building the model is cut off if it takes too long."""
    kind, arguments = _get_classes(config)

    def build(values: Any) -> nn.Module:
        with bounded(_BUILD_SECONDS):
            model: nn.Module = kind(values)
            return model

    return build, arguments


def _explain(problem: BaseException, what: str, path: Path, trusted: bool) -> NoReturn:
    """Say in our words why something can't be loaded."""
    if isinstance(problem, LoraError) or not _is_failure(problem):
        raise problem
    needed = None if trusted else refusal(path)
    if needed is not None and "code" in str(problem):
        raise needed from problem
    raise LoraError(f"model: {what} can't be loaded: {_in_words(problem)}") from problem


def _is_failure(problem: BaseException) -> bool:
    """Whether it is an error, or what some packages make of one: an exit, or a panic."""
    panic = type(problem).__name__ == "PanicException"
    return isinstance(problem, (Exception, SystemExit)) or panic


def _read_config(path: Path) -> dict[str, Any]:
    check_folder(path)
    read_json(path / "config.json")
    if (path / "generation_config.json").is_file():
        read_json(path / "generation_config.json")
    config: dict[str, Any] = load_config(path)
    check_config(path, config)
    return config


def _in_words(problem: BaseException) -> str:
    if isinstance(problem, TooMuchError):
        return f"{problem}; its config.json may be wrong."
    if isinstance(problem, RecursionError):
        return "it is nested too deeply."
    text = " ".join(str(problem).split())
    if isinstance(problem, KeyError):
        return f"it lacks {text}."
    return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text or repr(problem)


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
