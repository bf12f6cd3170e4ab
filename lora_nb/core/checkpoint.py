"""Checkpoints: complete folders that `mlx_lm.generate --adapter-path` loads, and their publishing.

`checkpoints/0000200/` holds the adapter, the optimizer's state, gradients not yet applied, the
state of the loop, and a manifest with the hash of each file.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from lora_nb.core.durable import sha256_of, sweep_parts
from lora_nb.core.trees import Weights, flat
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_TEMPLATE,
    ADAPTER_WEIGHTS,
    check_free,
)
from lora_nb.runs.lock import alone_in
from lora_nb.runs.whole_file import replace_file, sync_all, sync_folder

__all__ = ["CheckpointWriter", "NotPublishedError", "settle"]

OPTIMIZER = "optimizer.safetensors"
CARRIED = "carried.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"

# Behind a dot and the step: being written, about to be replaced, about to be removed.
_PART, _OLD, _GONE = ".part", ".old", ".gone"


class NotPublishedError(LoraError):
    """A checkpoint is whole, but its adapter could not be put where it should go."""


@dataclass
class CheckpointWriter:
    """Writes the checkpoints of one run, and publishes adapters to `publish_to`.

    `template` is the chat template of the training, where that is not the model's own; it goes
    with the adapter, so that generation uses the same one. With `only_best` the best checkpoint's
    adapter is published, else each. Of more than `keep` checkpoints the oldest go, but never the
    best. Unless it may `overwrite`, the adapter of another run is left alone. `published` is the
    step whose adapter this writer has published last, -1 before the first.
    """

    folder: Path
    publish_to: Path
    described: dict[str, Any]
    only_best: bool = False
    keep: int | None = None
    template: str | None = None
    overwrite: bool = True
    published: int = field(default=-1, init=False)

    def prepare(self) -> None:
        """Make the folders, and try to write where the adapter will go.

        Raises LoraError now rather than after the training.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.publish_to.mkdir(parents=True, exist_ok=True)
            probe = self.publish_to / ".lora_nb-probe"
            probe.touch()
            probe.unlink()
            sweep_parts(self.publish_to)
        except (FileExistsError, NotADirectoryError):
            raise LoraError(f"adapter_path: {self.publish_to} is a file, not a folder.") from None
        except OSError as problem:
            raise LoraError(
                f"adapter_path: can't write to {self.publish_to} ({problem.strerror})."
            ) from None

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Weights,
        carried: Weights,
        state: dict[str, Any],
        best_step: int = -1,
    ) -> Path:
        """Write the checkpoint of a step and publish its adapter; returns its folder.

        `optimizer` is the state of the optimizer and `carried` what was gathered since the last
        update, if anything. `best_step` is the step of the best checkpoint so far, this one
        included.

        Raises LoraError if the disk is full or not writable, or a weight is no finite number;
        earlier checkpoints stay whole. Raises NotPublishedError if this one is whole, too.
        """
        _check_finite(step, model.trainable_parameters())
        final = self.folder / f"{step:07d}"
        part, old = _aside(final, _PART), _aside(final, _OLD)
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            self._fill(part, model, optimizer, carried, {"step": step, **state})
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
                final.rename(old)
            part.rename(final)
            sync_folder(self.folder)
            shutil.rmtree(old, ignore_errors=True)
        except (OSError, RuntimeError) as problem:
            with suppress(OSError):
                settle(self.folder)
            raise LoraError(
                f"Step {step}: the checkpoint can't be written: {problem}. Free some disk space; "
                "earlier checkpoints are whole."
            ) from problem
        self._prune(best_step)
        if not self.only_best or step == best_step:
            self.publish(step)
        return final

    def publish(self, step: int) -> None:
        """Put the adapter of a checkpoint where it can be loaded from.

        Raises NotPublishedError if that can't be written to, or has another run's adapter by now.
        """
        saved = self.folder / f"{step:07d}"
        if not saved.is_dir():
            raise NotPublishedError(
                f"Step {step} can't be published: {saved} is not there any more. Give --publish "
                "last to publish the newest one."
            )
        try:
            self.publish_to.mkdir(parents=True, exist_ok=True)
            with alone_in(self.publish_to):
                if not self.overwrite:
                    check_free(self.publish_to, self.described.get("run"))
                self._copy(saved)
        except LoraError as problem:
            why = str(problem)
        except OSError as problem:
            why = (
                f"adapter_path: can't write to {self.publish_to} ({problem.strerror}). Make room "
                "there, or give another folder with --adapter-path."
            )
        else:
            self.published = step
            return
        raise NotPublishedError(f"Step {step} is saved in {saved}, but not published. {why}")

    def _copy(self, saved: Path) -> None:
        """Put the files of a checkpoint's adapter in the place of those that are there."""
        if _differ(saved / ADAPTER_CONFIG, self.publish_to / ADAPTER_CONFIG):
            # Another adapter's: its weights must never be seen with this one's config.
            (self.publish_to / ADAPTER_WEIGHTS).unlink(missing_ok=True)
        for name in (ADAPTER_TEMPLATE, ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            source = saved / name
            if source.is_file():
                replace_file(self.publish_to / name, partial(shutil.copyfile, source))
            else:
                # Left by another run, trained with a template of its own.
                (self.publish_to / name).unlink(missing_ok=True)

    def _prune(self, best_step: int) -> None:
        if self.keep is None:
            return
        there = sorted(path for path in self.folder.iterdir() if path.name.isdecimal())
        for path in there[: -self.keep]:
            if int(path.name) != best_step:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """Remove a checkpoint, which must not be seen with some of its files gone."""
        gone = _aside(path, _GONE)
        # What can't be removed costs space and nothing else.
        with suppress(OSError):
            shutil.rmtree(gone, ignore_errors=True)
            path.rename(gone)
            sync_folder(self.folder)
            shutil.rmtree(gone, ignore_errors=True)

    def _fill(
        self,
        part: Path,
        model: nn.Module,
        optimizer: Weights,
        carried: Weights,
        state: dict[str, Any],
    ) -> None:
        _save_tensors(part / ADAPTER_WEIGHTS, model.trainable_parameters())
        _save_tensors(part / OPTIMIZER, optimizer)
        if carried:
            _save_tensors(part / CARRIED, carried)
        _save_json(part / ADAPTER_CONFIG, self.described)
        if self.template is not None:
            (part / ADAPTER_TEMPLATE).write_text(self.template, encoding="utf-8")
        _save_json(part / STATE, state)
        hashes = {path.name: sha256_of(path) for path in sorted(part.iterdir())}
        _save_json(part / MANIFEST, {"format": 1, "sha256": hashes})
        sync_all(part)


def settle(folder: Path) -> None:
    """Put a folder of checkpoints in order after a writer that was killed.

    A checkpoint that was about to be replaced comes back unless the new one is there; what was
    being written or removed goes. Raises OSError.
    """
    for old in folder.glob(f".*{_OLD}"):
        final = folder / old.name[1 : -len(_OLD)]
        if not final.exists():
            old.rename(final)
    for suffix in (_PART, _OLD, _GONE):
        for path in folder.glob(f".*{suffix}"):
            shutil.rmtree(path, ignore_errors=True)


def _aside(final: Path, suffix: str) -> Path:
    return final.with_name(f".{final.name}{suffix}")


def _differ(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() != other.read_bytes()


def _check_finite(step: int, weights: Any) -> None:
    """A last update may have gone too far although its loss and gradient were numbers."""
    finite = [mx.isfinite(weight).all() for weight in flat(weights).values()]
    if not mx.stack(finite).all().item():
        raise LoraError(
            f"Step {step}: the trained weights are no longer finite, so they are not saved; "
            "earlier checkpoints are whole. Try a smaller learning_rate."
        )


def _save_tensors(path: Path, tree: Any) -> None:
    mx.save_safetensors(str(path), flat(tree))


def _save_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4, sort_keys=True) + "\n", encoding="utf-8")
