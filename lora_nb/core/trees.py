"""Parameter trees as flat dictionaries, and arrays as numbers, with their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path

__all__ = ["Weights", "filled", "flat", "value_of"]

Weights = dict[str, mx.array]


def flat(tree: Any) -> Weights:
    """The arrays of a tree of parameters by their dotted names."""
    pairs = dict(tree_flatten(tree))
    return {name: value for name, value in pairs.items() if isinstance(value, mx.array)}


def filled(tree: Any, arrays: Mapping[str, mx.array]) -> Any:
    """The tree with other arrays in its places; unlike their names it has empty branches, too."""

    def another(name: str, old: Any) -> Any:
        return arrays[name] if isinstance(old, mx.array) else old

    return tree_map_with_path(another, tree)


def value_of(scalar: mx.array) -> float:
    """The value of a scalar array, computed now if it isn't yet."""
    return float(scalar.item())  # type: ignore[arg-type]  # typed as possibly complex
