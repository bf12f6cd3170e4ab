"""What mlx-lm gets wrong about a model's config, mended before the model is built.

mlx-lm itself is not edited: a config is handed to it with further keys, and one module takes the
place of its own in this process.
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
from lora_nb.errors import LoraError

__all__ = ["Mended", "install", "mended"]

Config = dict[str, Any]

_ROPE_PARAMETERS = "rope_parameters"


@dataclass(frozen=True)
class Mended:
    """Keys to lay over a config, and what to say about them."""

    updates: Config = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def install() -> None:
    """Put our OLMo where mlx-lm looks for its own, which can't be imported."""
    sys.modules["mlx_lm.models.olmo"] = olmo


def mended(path: Path, config: Config) -> Mended:
    """What to change in the config of the model in `path`.

    Raises LoraError for a model that mlx-lm would compute wrongly all the same.
    """
    known = _known_keys(config)
    updates: Config = {}
    notes: list[str] = []
    for key, value, note in (*_rope(config), *_untied_head(path, config, known)):
        updates[key] = value
        if note:
            notes.append(note)
    _refuse_unknown_rope(config | updates, known)
    return Mended(updates, notes)


Change = tuple[str, Any, str]


def _rope(config: Config) -> Iterator[Change]:
    """`rope_parameters`, as transformers 5 writes them, under the names that mlx-lm reads."""
    given = config.get(_ROPE_PARAMETERS)
    if not isinstance(given, Mapping):
        return
    layered = isinstance(given.get("full_attention"), Mapping)
    full = given["full_attention"] if layered else given
    flat: Config = {key: full[key] for key in ("rope_theta", "partial_rotary_factor") if key in full}
    if layered and isinstance(given.get("sliding_attention"), Mapping):
        flat["rope_local_base_freq"] = given["sliding_attention"].get("rope_theta", 10_000.0)
    kind = full.get("rope_type", full.get("type", "default"))
    if kind != "default":
        flat["rope_scaling"] = {**full, "rope_type": kind, "type": kind}
        if "original_max_position_embeddings" in full:
            flat["original_max_position_embeddings"] = full["original_max_position_embeddings"]
    note = "The config's rope_parameters are read for mlx-lm, which ignores them."
    for key, value in flat.items():
        if config.get(key) is None:
            yield key, value, note
            note = ""


def _untied_head(path: Path, config: Config, known: set[str]) -> Iterator[Change]:
    """Models with a head of their own whose config leaves `tie_word_embeddings` to a default."""
    if "tie_word_embeddings" in config or "tie_word_embeddings" not in known:
        return
    if "lm_head.weight" in _tensor_names(path):
        yield (
            "tie_word_embeddings",
            False,
            "The model has a head of its own, which its config does not say; it is used.",
        )


def _refuse_unknown_rope(config: Config, known: set[str]) -> None:
    """Refuse positions that the family's code in mlx-lm knows nothing of."""
    if not known or _ROPE_PARAMETERS in known:
        return
    scaling = config.get("rope_scaling")
    kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, Mapping) else None
    if kind not in (None, "default") and "rope_scaling" not in known:
        raise LoraError(
            f"model: its config asks for rope scaling ({kind}), which mlx-lm's "
            f"{config['model_type']} does not compute. The results would be wrong."
        )
    factor = config.get("partial_rotary_factor")
    if factor not in (None, 1, 1.0) and "partial_rotary_factor" not in known:
        raise LoraError(
            f"model: its config asks for partial rotary positions ({factor}), which mlx-lm's "
            f"{config['model_type']} does not compute. The results would be wrong."
        )


def _known_keys(config: Config) -> set[str]:
    """The config keys that the family's code reads; none if there is no such family."""
    name = config.get("model_type", "")
    try:
        module = importlib.import_module(f"mlx_lm.models.{MODEL_REMAPPING.get(name, name)}")
        return {f.name for f in dataclasses.fields(module.ModelArgs)}
    except (ImportError, AttributeError, TypeError):
        return set()


def _tensor_names(path: Path) -> set[str]:
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
