"""Rotary positions in a model's config, under the keys that mlx-lm reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["ROPE_PARAMETERS", "Change", "Config", "refuse_unknown_rope", "rope_changes", "wrong"]

Config = dict[str, Any]
Change = tuple[str, Any, str]

ROPE_PARAMETERS = "rope_parameters"
_ORIGINAL = "original_max_position_embeddings"

# The kinds of rope scaling that a family's code computes, where it reads the key at all.
_ROPE_KINDS = {"mixtral": (), "phi3": ("longrope", "su", "linear")}
_WITH_ORIGINAL = ("llama3", "longrope", "yarn")


def rope_changes(config: Config, known: set[str]) -> Iterator[Change]:
    """`rope_parameters`, as transformers 5 writes them, under the names that mlx-lm reads."""
    given = config.get(ROPE_PARAMETERS)
    if not isinstance(given, Mapping):
        yield from _scaling(config)
        return
    full, sliding = _by_layer(config, given)
    flat: Config = {
        key: full[key] for key in ("rope_theta", "partial_rotary_factor") if key in full
    }
    if sliding is not None:
        flat["rope_local_base_freq"] = local = _local_theta(config, sliding)
        same = local == full.get("rope_theta", 10_000.0)
        if known and "rope_local_base_freq" not in known and not same:
            raise wrong(config, f"a rope_theta of its own ({local:g}) in blocks with a window")
    if _rope_kind(full) != "default":
        flat["rope_scaling"] = scaling = _complete(config, full)
        if _ORIGINAL in scaling:
            flat[_ORIGINAL] = scaling[_ORIGINAL]
    note = ""
    if known and ROPE_PARAMETERS not in known:
        note = "The config's rope_parameters are read for mlx-lm, which ignores them."
    for key, value in flat.items():
        # In transformers these are the ones that count.
        if config.get(key) != value:
            yield key, value, note
            note = ""


def _by_layer(
    config: Config, given: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The positions of blocks that see the whole text, and those of blocks with a window if other.

    Raises LoraError for further kinds of blocks.
    """
    kinds = {kind: each for kind, each in given.items() if isinstance(each, Mapping)}
    if not kinds:
        return given, None
    if kinds.keys() - {"full_attention", "sliding_attention"} or "full_attention" not in kinds:
        raise wrong(config, f"positions by kinds of blocks ({', '.join(sorted(kinds))})")
    return kinds["full_attention"], kinds.get("sliding_attention")


def _scaling(config: Config) -> Iterator[Change]:
    """`rope_scaling`, as transformers 4 wrote it, with what some of mlx-lm's families miss."""
    scaling = config.get("rope_scaling")
    if not isinstance(scaling, Mapping):
        return
    if _rope_kind(scaling) == "default":
        yield "rope_scaling", None, ""
    elif (complete := _complete(config, scaling)) != scaling:
        yield "rope_scaling", complete, ""


def _complete(config: Config, scaling: Mapping[str, Any]) -> Config:
    """Rope scaling with its kind under both names, and with the length before scaling.

    That is the model's longest text, if the config doesn't tell it.
    """
    kind = _rope_kind(scaling)
    complete = {**scaling, "rope_type": kind, "type": kind}
    if kind in _WITH_ORIGINAL:
        longest = config.get("max_position_embeddings")
        before = config.get(_ORIGINAL) or scaling.get(_ORIGINAL) or longest
        complete |= {_ORIGINAL: before} if before else {}
    return complete


def _rope_kind(parameters: Mapping[str, Any]) -> str:
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    return {"su": "longrope"}.get(kind, kind)


def _local_theta(config: Config, sliding: Mapping[str, Any]) -> float:
    kind = _rope_kind(sliding)
    if kind != "default":
        raise wrong(config, f"rope scaling ({kind}) in blocks with a window")
    return float(sliding.get("rope_theta", 10_000.0))


def refuse_unknown_rope(config: Config, known: set[str]) -> None:
    """Refuse positions that the family's code in mlx-lm knows nothing of."""
    if not known:
        return
    family, scaling = config["model_type"], config.get("rope_scaling")
    asked = ""
    if isinstance(scaling, Mapping):
        kind = _rope_kind(scaling)
        if kind != "default" and (
            "rope_scaling" not in known or kind not in _ROPE_KINDS.get(family, (kind,))
        ):
            asked = f"rope scaling ({kind})"
        elif kind == "yarn" and scaling.get("attention_factor") is not None:
            asked = "rope scaling with an attention_factor of its own (yarn)"
        elif kind == "yarn" and scaling.get("truncate") is False:
            asked = "rope scaling without truncation (yarn)"
    factor = config.get("partial_rotary_factor")
    if factor not in (None, 1, 1.0) and "partial_rotary_factor" not in known:
        asked = f"partial rotary positions ({factor})"
    if asked:
        raise wrong(config, asked)


def wrong(config: Config, asked: str) -> LoraError:
    """The refusal of a model whose config asks for what its family's code doesn't compute."""
    return LoraError(
        f"model: its config asks for {asked}, which mlx-lm's {config.get('model_type')} does not "
        "compute. The results would be wrong."
    )
