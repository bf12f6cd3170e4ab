"""A training that is over and goes on: which one, with which options, and from where."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lora_nb.config import TrainConfig, load
from lora_nb.config.fields import flat_options, specs_of
from lora_nb.errors import LoraError, listed
from lora_nb.runs import attach, store
from lora_nb.runs.events import TrainLoss
from lora_nb.runs.folder import RunFolder

__all__ = ["find_training", "options_for"]


def find_training(name: str) -> RunFolder:
    """The training that is to go on; `latest` is the newest training.

    Raises LoraError if there is none, it trains nothing, or it is not over.
    """
    trainings = (run for run in store.all_runs() if name == "latest" and store.does(run, "train"))
    run = next(trainings, None) or store.find(name)
    if run.verb != "train":
        more = f" %lora_sweep --resume {run.name} goes on with it." if run.verb == "sweep" else ""
        raise LoraError(f"--resume: {run.name} trains nothing, it is a {run.verb} run.{more}")
    if not attach.is_over(run):
        more = f" `%lora_resume {run.name}` ends its pause." if run.status == "paused" else ""
        raise LoraError(f"--resume: {run.name} is {run.status}, it needs no resuming.{more}")
    return run


def options_for(run: RunFolder, given: Mapping[str, Any]) -> tuple[TrainConfig, str]:
    """The config with which a training goes on, and what is new in it, in words.

    `given` are options by their key. Raises LoraError for those that would make it another run,
    or if all of its steps are done.
    """
    before = run.config
    if not isinstance(before, TrainConfig):
        raise LoraError(f"{run.path}: config.yaml is no train config.")
    config = load(TrainConfig, file=run.config_path, flags=given)
    if "lr_schedule" not in given:
        # A new learning rate takes the place of the schedule; it does not make another one.
        config = dataclasses.replace(config, lr_schedule=before.lr_schedule)
    changed = _changes(before, config)
    may = {spec.key for spec in specs_of(TrainConfig) if spec.opt.on_resume}
    wrong = [words for key, words in changed.items() if key.split(".")[0] not in may]
    if wrong:
        raise listed(
            f"{words} would make it another run. Leave it out, or start a new run with "
            f"--resume-adapter-file {run.name}, which takes its weights alone."
            for words in wrong
        )
    _check_something_is_left(run, before, config)
    return config, ", ".join(changed.values())


def _changes(before: TrainConfig, after: TrainConfig) -> dict[str, str]:
    old, new = flat_options(before), flat_options(after)
    keys = sorted(old.keys() | new.keys())
    return {
        key: f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in keys
        if old.get(key) != new.get(key)
    }


def _check_something_is_left(run: RunFolder, before: TrainConfig, after: TrainConfig) -> None:
    end = run.ended
    if end is None or end.status != "completed":
        return
    if end.early:
        if after.early_stop == before.early_stop:
            raise LoraError(
                f"{run.name} stopped early, as {end.early}. Give a larger --early-stop to go on."
            )
        return
    told = (r.event.steps for r in reversed(run.records()) if isinstance(r.event, TrainLoss))
    steps = next(told, end.step)
    enough = (
        after.iters > end.step
        if after.iters is not None
        else after.epochs is not None and (before.epochs is None or after.epochs > before.epochs)
    )
    if not enough:
        raise LoraError(
            f"{run.name} is completed: all of its {steps} steps are done. "
            f"Give --iters with more than {steps} to go on."
        )
