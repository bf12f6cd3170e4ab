"""Whether a run keeps its trunk's activations, where, and when the frozen blocks go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlx.nn as nn

from lora_nb.config import TrainConfig
from lora_nb.config.derived import bytes_of
from lora_nb.core.batching import Split, multiple_for
from lora_nb.core.memory import free_memory
from lora_nb.core.packed import FAULTS
from lora_nb.core.positions import fixed_up_to
from lora_nb.core.trunk import NOT_ENTERED, Trunk, first_trained
from lora_nb.core.trunk_store import DiskStore, MemoryStore, Store
from lora_nb.data.batches import padded_length

__all__ = ["TrunkPlan", "plan_trunk"]

# Of the memory that is free once the model is loaded, the rest being for training itself.
_MEMORY_SHARE = 0.4
_DISK_SHARE = 0.5
_NO_TRUNK = (
    "No trunk cache: no block is frozen below all that is trained. With fewer trained blocks "
    "(--num-layers) there would be some."
)


@dataclass
class TrunkPlan:
    """A trunk with what is to happen to it in the course of a run; `needed` is in bytes."""

    trunk: Trunk
    evaluated: Mapping[str, tuple[Split, int]]
    note: str
    needed: int
    place: Literal["memory", "disk"]

    def release_when_complete(self) -> str | None:
        """Once all training rows are there, let the frozen blocks go; says so, once."""
        if self.trunk.released or not self.trunk.is_complete("train"):
            return None
        for split, batches in self.evaluated.values():
            self.trunk.fill(split, split.plan.spread(batches))
        freed = self.trunk.release()
        return f"The frozen blocks are not needed any more: {freed / 1e9:.2f} GB are free again."


def plan_trunk(
    model: nn.Module,
    config: TrainConfig,
    splits: Mapping[str, Split],
    *,
    steps: int,
    folder: Path,
) -> TrunkPlan | str:
    """The trunk of a run, or why it has none. Its file, if it needs one, lies in `folder`."""
    if config.trunk_cache == "off":
        return ""
    first = first_trained(model)
    if first == 0:
        return "" if config.trunk_cache == "auto" else _NO_TRUNK
    train = splits["train"]
    if config.trunk_cache == "auto" and steps <= train.plan.per_epoch:
        return "No trunk cache: every row is trained at most once."
    limits = {"valid": config.val_batches, "test": config.test_batches if config.test else 0}
    kept = {"train": train} | {
        name: split for name, split in splits.items() if limits.get(name, 0) != 0
    }
    fixed = fixed_up_to(model)
    if fixed is not None and _longest(kept.values()) > fixed:
        return (
            f"No trunk cache: beyond {fixed:,} tokens this model's positions depend on the length "
            "of the batch, so what the frozen blocks compute for a row does, too."
        )
    try:
        width = _bytes_a_token(model, first, train)
    except FAULTS:
        return NOT_ENTERED
    needed = sum(sum(split.prepared.lengths) for split in kept.values()) * width
    place = _place_for(needed, config, folder)
    if place is None:
        return (
            f"No trunk cache: it would take {needed / 1e9:.1f} GB, more than there is room for "
            "(--trunk-cache-limit, free memory and disk)."
        )
    stores: dict[str, Store] = {
        name: _store(split, place, folder / f"trunk-{name}.bin") for name, split in kept.items()
    }
    evaluated = {name: (split, limits[name]) for name, split in kept.items() if name != "train"}
    where = "memory" if place == "memory" else "a file"
    note = (
        f"Trunk cache: what the {first} frozen blocks compute is kept in {where} "
        f"({needed / 1e9:.2f} GB)."
    )
    return TrunkPlan(Trunk(model, first, stores), evaluated, note, needed, place)


def _longest(splits: Iterable[Split]) -> int:
    """The most tokens that a row of a batch is given to the model as, padding included."""
    longest = max(max(split.prepared.lengths) for split in splits)
    return padded_length(longest, multiple_for(longest)) - 1


def _store(split: Split, place: str, path: Path) -> Store:
    lengths = split.prepared.lengths
    return MemoryStore(lengths) if place == "memory" else DiskStore(lengths, path)


def _bytes_a_token(model: nn.Module, first: int, train: Split) -> int:
    """The size of the activations that one token brings to block `first`."""
    batch = train.batch(0)
    hidden = Trunk(model, first, {}).compute(batch.tokens, batch.parts)
    # Shape and type are known without computing anything, so any batch will do.
    return int(hidden.shape[-1] * hidden.dtype.size)


def _place_for(needed: int, config: TrainConfig, folder: Path) -> Literal["memory", "disk"] | None:
    if needed > bytes_of(config.trunk_cache_limit):
        return None
    if config.trunk_cache == "memory":
        return "memory"
    if config.trunk_cache == "auto" and needed <= _MEMORY_SHARE * free_memory():
        return "memory"
    room = shutil.disk_usage(folder).free
    return "disk" if needed <= _DISK_SHARE * room else None
