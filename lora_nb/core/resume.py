"""Read a checkpoint back, so that a run goes on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from lora_nb.core.adapters import check_shapes, read_weights
from lora_nb.core.checkpoint import CARRIED, MANIFEST, OPTIMIZER, STATE
from lora_nb.core.durable import sha256_of
from lora_nb.core.step import Stepper
from lora_nb.core.trees import Weights, flat
from lora_nb.data.tokens import Encoded
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import ADAPTER_WEIGHTS

__all__ = ["Saved", "data_key", "newest_whole", "put_back"]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read: its step, tensors, and the state of the loop."""

    step: int
    weights: Weights
    optimizer: Weights
    carried: Weights
    state: Mapping[str, Any]


def newest_whole(folder: Path) -> tuple[Saved | None, list[str]]:
    """The newest checkpoint in a folder whose hashes are right, and what is wrong with newer ones.

    None if the folder holds no checkpoint. Raises LoraError if it does, and all are damaged.
    """
    notes: list[str] = []
    there = sorted((path for path in folder.glob("*") if path.name.isdecimal()), reverse=True)
    for path in there:
        damage = _damage(path)
        if damage is None:
            return _read(path), notes
        notes.append(f"The checkpoint of step {int(path.name)} is damaged: {damage}.")
    if notes:
        raise LoraError("No checkpoint is left to resume from. " + " ".join(notes))
    return None, []


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        hashes = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        missing = {ADAPTER_WEIGHTS, OPTIMIZER, STATE} - set(hashes)
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} can't be read"
    if missing:
        return f"{min(missing)} is not in {MANIFEST}"
    for name, wanted in hashes.items():
        try:
            found = sha256_of(path / name)
        except OSError as problem:
            return f"{name} can't be read ({problem.strerror})"
        if found != wanted:
            return f"{name} is not what was saved"
    return None


def _read(path: Path) -> Saved:
    state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    carried = path / CARRIED
    return Saved(
        step=int(state["step"]),
        weights=read_weights(path / ADAPTER_WEIGHTS),
        optimizer=_tensors(path / OPTIMIZER),
        carried=_tensors(carried) if carried.is_file() else {},
        state=state,
    )


def _tensors(path: Path) -> Weights:
    # Unlike weights, an optimizer's state may hold infinities.
    return flat(mx.load(str(path)))


def put_back(saved: Saved, model: nn.Module, stepper: Stepper) -> None:
    """Give a model and its stepper the weights, optimizer state and gradients of a checkpoint.

    Raises LoraError if they belong to another model or optimizer.
    """
    name = f"The checkpoint of step {saved.step}"
    check_shapes(name, saved.weights, flat(model.trainable_parameters()))
    differing = set(stepper.optimizer_state) ^ set(saved.optimizer)
    if differing:
        raise LoraError(
            f"{name} holds the state of another optimizer ({min(differing)}), so the run can't go "
            "on with this one."
        )
    model.load_weights(list(saved.weights.items()), strict=False)
    stepper.restore(saved.optimizer, saved.carried)


def data_key(rows: Sequence[Encoded]) -> str:
    """A hash of rows as they are trained: their tokens and their targets, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(len(row.ids).to_bytes(4, "little"))
        digest.update(row.ids.tobytes())
        digest.update(row.trained.tobytes())
    return digest.hexdigest()
