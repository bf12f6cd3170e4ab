"""Starting runs, and letting them go on, with complete configs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_nb.api.run import Run, Sweep, run_of
from lora_nb.api.watching import monitored, watched
from lora_nb.config import CompareConfig, FuseConfig, SweepConfig, TrainConfig, UploadConfig
from lora_nb.runs import launch
from lora_nb.runs import resume as resuming
from lora_nb.runs.adapters import find_adapter
from lora_nb.runs.adapters import run_of as maker_of
from lora_nb.runs.folder import RunConfig, RunFolder
from lora_nb.runs.places import base_for
from lora_nb.runs.shippable import find_shippable
from lora_nb.runs.sweep_state import check_places

__all__ = ["launched", "named", "relaunched", "resumed", "resumed_sweep", "start"]


def start(config: RunConfig, *, background: bool = False) -> Run:
    """Start a run with a complete config, and watch it unless it is to be in the background."""
    return _shown(launched(config).folder, background=background)


def launched(config: RunConfig) -> Run:
    """Start a run with a complete config and show nothing of it, as panels do that themselves."""
    if isinstance(config, SweepConfig):
        check_places(config)
    return run_of(launch.start(named(config)))


def resumed(name: str, options: Mapping[str, Any], *, background: bool = False) -> Run:
    """Let a training that is over go on where its newest checkpoint was made, bit for bit.

    `options` are new values by key, of those that may change. Raises LoraError if that can't be.
    """
    return _shown(relaunched(name, options), background=background)


def relaunched(name: str, options: Mapping[str, Any]) -> RunFolder:
    """The same, with nothing of it shown."""
    folder = resuming.find_training(name)
    launch.resume(folder, *resuming.options_for(folder, options))
    return folder


def _shown(folder: RunFolder, *, background: bool) -> Run:
    if background:
        monitored(folder)
    else:
        watched(folder, owner=True)
    return run_of(folder, shown=True)


def resumed_sweep(name: str, *, background: bool = False) -> Sweep:
    """Let a sweep go on with the trials that are not over. Raises LoraError if there are none."""
    from lora_nb.sweeping.resuming import find_sweep

    folder, config = find_sweep(name)
    launch.resume(folder, config)
    _shown(folder, background=background)
    return Sweep(folder, shown=True)


def named(config: Any) -> Any:
    """The config with the names of runs replaced by the adapters that are meant.

    The worker would take `latest` for itself, and a record is only true with the path.
    """
    if isinstance(config, TrainConfig):
        wanted = config.resume_adapter_file
        if not wanted or Path(wanted).expanduser().is_file():
            return config
        found = find_adapter(wanted, "resume_adapter_file")
        return dataclasses.replace(config, resume_adapter_file=str(found))
    if isinstance(config, UploadConfig):
        return dataclasses.replace(config, path=str(find_shippable(config.path).absolute()))
    if isinstance(config, CompareConfig) or not getattr(config, "adapter_path", None):
        return config
    found = find_adapter(config.adapter_path)
    if isinstance(config, FuseConfig) and config.model is None:
        config = dataclasses.replace(config, model=base_for(found, maker_of(found)))
    return dataclasses.replace(config, adapter_path=str(found))
