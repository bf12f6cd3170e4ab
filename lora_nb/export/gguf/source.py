"""The model folder that is exported: its config with nothing left out, and what can't be exported.

Everything that is refused is refused here or in the modules that plan, before a byte is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_nb.core import families
from lora_nb.core.olmo_layout import is_ai2, with_its_ids
from lora_nb.errors import LoraError, listed

__all__ = ["FAMILIES", "Family", "Source", "read_source", "rope_kind"]

Config = dict[str, Any]

_WINDOW = (
    "llama.cpp computes this family without its window ({width} tokens): for longer texts its "
    "results differ."
)


_BETAS = {"beta_fast": 32, "beta_slow": 1}
_FACTORS = ("factor", "rope_theta", "low_freq_factor", "high_freq_factor", "partial_rotary_factor")


@dataclass(frozen=True)
class Family:
    """What llama.cpp calls a family, and how it wants its weights.

    `interleaved`: it rotates neighbouring channels, where Hugging Face rotates halves. `norm_plus`:
    what is added to the weights of norms. `windows`: whether it knows of windows in attention.
    `layer_norm`: its norms are layer norms. `scalings`: the kinds of rope scaling it computes.
    """

    arch: str
    interleaved: bool = False
    norm_plus: float = 0.0
    windows: bool = False
    layer_norm: bool = False
    scalings: tuple[str, ...] = ("linear", "yarn")


_LLAMA = Family("LLAMA", interleaved=True, scalings=("linear", "yarn", "llama3"))
FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "qwen2": Family("QWEN2"),
    "qwen3": Family("QWEN3"),
    "gemma": Family("GEMMA", norm_plus=1.0, scalings=()),
    "gemma2": Family("GEMMA2", norm_plus=1.0, windows=True, scalings=()),
    "gemma3_text": Family("GEMMA3", norm_plus=1.0, windows=True, scalings=("linear",)),
    "phi": Family("PHI2", layer_norm=True, scalings=("linear",)),
    "phi3": Family("PHI3", scalings=("longrope",)),
    "olmo": Family("OLMO", interleaved=True, layer_norm=True, scalings=("linear", "yarn")),
    "olmo2": Family("OLMO2"),
}


@dataclass(frozen=True)
class Source:
    """A model folder: `config` is that of the text model, completed with the family's defaults."""

    folder: Path
    config: Config
    said: Config
    name: str
    family: Family
    notes: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> int:
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> tuple[int, int]:
        """The number of heads, of queries and of keys."""
        queries = int(self.config["num_attention_heads"])
        return queries, int(self.config.get("num_key_value_heads") or queries)

    @property
    def head_dim(self) -> int:
        width = self.config.get("head_dim")
        return int(width or self.config["hidden_size"] // self.heads[0])

    @property
    def rope(self) -> Mapping[str, Any]:
        """The positions of blocks that see the whole text."""
        given = self.config.get("rope_parameters") or {}
        full = given.get("full_attention", given)
        return full if isinstance(full, Mapping) else {}


def rope_kind(rope: Mapping[str, Any]) -> str:
    """The kind of rope scaling; `default` for none."""
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    return {"su": "longrope"}.get(kind, kind)


def read_source(folder: Path, *, packed: bool = False) -> Source:
    """The model in a folder; with `packed` its weights may be quantised.

    Raises LoraError for whatever llama.cpp would compute wrongly.
    """
    raw = _config_of(folder)
    said = dict(families.text_of(with_its_ids(raw) if is_ai2(raw) else raw))
    name = str(said.get("model_type", ""))
    family = FAMILIES.get(name)
    if family is None:
        raise LoraError(
            f"gguf: {folder} is of the family '{name}', which is not exported. Those that are: "
            f"{', '.join(sorted(FAMILIES))}."
        )
    if not sorted(folder.glob("model*.safetensors")):
        raise LoraError(f"gguf: {folder} holds no weights (model*.safetensors).")
    if not packed and any(key in raw for key in ("quantization", "quantization_config")):
        raise LoraError(
            f"gguf: the weights in {folder} are quantised by MLX, which llama.cpp can't read. "
            "Fuse with --dequantize, or turn them back with %lora_convert --dequantize."
        )
    # What mlx-lm, and so the fine-tuning, computes wrongly is no good as an export either.
    families.mended(folder, dict(raw))
    source = Source(folder, _completed(name, said), said, name, family)
    if problems := list(_problems(source)):
        raise listed(f"gguf: {problem}" for problem in problems)
    source.notes.extend(_window_note(source))
    return source


def _config_of(folder: Path) -> Config:
    if not folder.is_dir():
        raise LoraError(f"gguf: {folder} is no folder.")
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoraError(f"gguf: {folder} has no config.json, so it is no model folder.") from None
    except (OSError, ValueError) as problem:
        raise LoraError(f"gguf: {path} can't be read: {problem}.") from None
    if not isinstance(config, dict):
        raise LoraError(f"gguf: {path} is no config.")
    return config


def _completed(name: str, said: Config) -> Config:
    """The config with what transformers takes for keys that are left out."""
    from transformers import AutoConfig

    given = {key: value for key, value in said.items() if key != "model_type"}
    try:
        config: Config = AutoConfig.for_model(name, **given).to_dict()
    except Exception as problem:  # each family checks its config in its own way
        raise LoraError(f"gguf: the config makes no model: {problem}") from problem
    return config


def _problems(source: Source) -> Iterator[str]:
    yield from _rope_problems(source)
    if source.name == "gemma3_text":
        every = source.config.get("sliding_window_pattern") or 6
        kinds = source.config.get("layer_types") or []
        usual = [
            "sliding_attention" if number % 6 else "full_attention"
            for number in range(1, source.blocks + 1)
        ]
        if every != 6 or (kinds and kinds != usual):
            yield "llama.cpp knows Gemma 3 only with every sixth block seeing the whole text."
    if source.name == "gemma2":
        kinds = source.config.get("layer_types") or []
        usual = ["full_attention" if n % 2 else "sliding_attention" for n in range(source.blocks)]
        if kinds and kinds != usual:
            yield "llama.cpp knows Gemma 2 only with a window in every other block."


def _rope_problems(source: Source) -> Iterator[str]:
    rope, kind = source.rope, rope_kind(source.rope)
    for key in _FACTORS:
        if not isinstance(value := rope.get(key), (int, float, type(None))):
            yield f"{key} of the rope scaling is no number: {value}."
    if kind != "default" and kind not in source.family.scalings:
        yield f"llama.cpp computes no {kind} rope scaling for {source.name}."
    elif kind == "yarn":
        odd = [key for key in ("attention_factor", "mscale", "mscale_all_dim") if rope.get(key)]
        if odd:
            yield f"yarn rope scaling with {', '.join(odd)} is not exported."
        # llama.cpp takes its own, whatever the file says.
        for key, usual in _BETAS.items():
            if (value := rope.get(key)) not in (None, usual):
                yield f"llama.cpp computes yarn rope scaling with {key} = {usual}, not {value}."


def _window_note(source: Source) -> Iterator[str]:
    config = source.config
    width = config.get("sliding_window")
    if source.family.windows or not isinstance(width, int) or width <= 0:
        return
    if source.name.startswith("qwen") and not config.get("use_sliding_window"):
        return
    if width < int(config["max_position_embeddings"]):
        yield _WINDOW.format(width=width)
