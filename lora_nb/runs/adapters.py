"""Which adapter folder is meant: by its path, or by the run that trained it."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Iterator
from pathlib import Path

from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.folder import RunFolder

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_TEMPLATE",
    "ADAPTER_WEIGHTS",
    "PEFT_WEIGHTS",
    "base_of",
    "check_free",
    "find_adapter",
    "is_adapter",
    "owner_of",
    "run_of",
    "template_of",
]

ADAPTER_WEIGHTS = "adapters.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
# The template that an adapter was trained with, where that isn't its model's own.
ADAPTER_TEMPLATE = "chat_template.jinja"
PEFT_WEIGHTS = "adapter_model.safetensors"

_AT_STEP = re.compile(r"(.+)@(\d+)")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, mlx-lm's or PEFT's."""
    return any((folder / name).is_file() for name in (ADAPTER_WEIGHTS, PEFT_WEIGHTS))


def template_of(folder: Path) -> str | None:
    """The chat template that an adapter was trained with, or None for its model's own."""
    path = folder / ADAPTER_TEMPLATE
    return str(path) if path.is_file() else None


def find_adapter(name: str, option: str = "adapter_path") -> Path:
    """The adapter folder meant by a path, the name of a run, or `latest`; or by `run@step`.

    A folder of PEFT will do, too. `latest` is the newest run that has saved an adapter. Raises
    LoraError, in the name of the option, if there is none.
    """
    path = Path(name).expanduser()
    if is_adapter(path):
        return path
    if not path.exists() and (at := _AT_STEP.fullmatch(name)):
        return _of_step(at[1], int(at[2]), option)
    if name == "latest":
        found = next(filter(None, (run.adapter_path for run in store.all_runs())), None)
        if found is None:
            raise LoraError(f"{option}: no run has saved an adapter yet.")
        return found
    if path.exists() and not store.is_run(path):
        raise LoraError(f"{option}: {name} holds no {ADAPTER_WEIGHTS}.")
    try:
        run = store.find(name)
    except LoraError as problem:
        raise LoraError(f"{option}: {name} does not exist. {problem}") from None
    found = _best_of_sweep(run) if run.verb == "sweep" else run.adapter_path
    if found is None:
        raise LoraError(f"{option}: {run.name} has saved no adapter (status: {run.status}).")
    return found


def _best_of_sweep(run: RunFolder) -> Path | None:
    """The adapter of a sweep's best trial."""
    from lora_nb.runs.ranking import first
    from lora_nb.runs.sweep_state import results_of, sweep_state

    best = first(results_of(sweep_state(run)))
    return best.run.adapter_path if best and best.run else None


def _of_step(name: str, step: int, option: str) -> Path:
    try:
        newest = (run for run in store.all_runs() if name == "latest" and run.checkpoints)
        run = next(newest, None) or store.find(name)
    except LoraError as problem:
        raise LoraError(f"{option}: {problem}") from None
    there = {checkpoint.step: checkpoint.path for checkpoint in run.checkpoints}
    if step not in there:
        steps = ", ".join(map(str, there)) or "none"
        raise LoraError(f"{option}: {run.name} has no checkpoint of step {step} (it has {steps}).")
    return there[step]


def check_free(folder: Path, run: str | None) -> None:
    """Raise LoraError if a folder holds an adapter that is not that of the run of this name."""
    if not is_adapter(folder):
        return
    owner = owner_of(folder)
    if owner is None or owner != run:
        whose = f"the adapter of the run {owner}" if owner else "an adapter already"
        raise LoraError(
            f"adapter_path: {folder} holds {whose}. Give --overwrite to replace it, or another "
            "folder with --adapter-path."
        )


def owner_of(adapter: Path) -> str | None:
    """The name of the run that an adapter is of, if it says so."""
    return _said_by(adapter, "run")


def base_of(adapter: Path) -> str | None:
    """The model that an adapter was made for, if it says so."""
    return _said_by(adapter, "model") or _said_by(adapter, "base_model_name_or_path")


def _said_by(adapter: Path, key: str) -> str | None:
    """A text of an adapter's config, or None."""
    try:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get(key) if isinstance(config, dict) else None
    return found if isinstance(found, str) and found else None


def run_of(adapter: Path) -> RunFolder | None:
    """The training that made an adapter: the run it lies in, or one that has published it."""
    real = adapter.resolve()
    # Not in the folder of a sweep, where its trials publish.
    if store.is_run(real.parent.parent) and _trains(run := RunFolder(real.parent.parent)):
        return run
    weights = real / ADAPTER_WEIGHTS
    if not weights.is_file():
        return None
    return next((run for run in _published_to(real) if _holds(run, weights)), None)


def _published_to(folder: Path) -> Iterator[RunFolder]:
    for run in store.all_runs():
        if not _trains(run):
            continue
        started_in = Path(str(run.about.get("folder") or "."))
        named = getattr(run.config, "adapter_path", None)
        if named and (started_in / Path(named).expanduser()).resolve() == folder:
            yield run


def _trains(run: RunFolder) -> bool:
    try:
        return run.verb == "train" and isinstance(run.config, TrainConfig)
    except LoraError:
        return False


def _holds(run: RunFolder, weights: Path) -> bool:
    """Whether one of the run's checkpoints is what a file holds."""
    files = (checkpoint.path / ADAPTER_WEIGHTS for checkpoint in reversed(run.checkpoints))
    return any(file.is_file() and filecmp.cmp(file, weights, shallow=False) for file in files)
