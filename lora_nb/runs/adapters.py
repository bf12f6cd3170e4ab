"""Which adapter folder is meant: by its path, or by the run that trained it."""

from __future__ import annotations

from pathlib import Path

from lora_nb.errors import LoraError
from lora_nb.runs import store

__all__ = ["ADAPTER_CONFIG", "ADAPTER_WEIGHTS", "find_adapter"]

ADAPTER_WEIGHTS = "adapters.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


def find_adapter(name: str, option: str = "adapter_path") -> Path:
    """The adapter folder meant by a path, the name of a run, or `latest`.

    `latest` is the newest run that has saved an adapter. Raises LoraError, in the name of the
    option, if there is none.
    """
    path = Path(name).expanduser()
    if (path / ADAPTER_WEIGHTS).is_file():
        return path
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
    if run.adapter_path is None:
        raise LoraError(f"{option}: {run.name} has saved no adapter (status: {run.status}).")
    return run.adapter_path
