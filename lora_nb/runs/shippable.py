"""Which folder is meant by what is to be uploaded: a model, an adapter, or a run's result."""

from __future__ import annotations

from pathlib import Path

from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.adapters import find_adapter, is_adapter
from lora_nb.runs.export_events import ModelSaved
from lora_nb.runs.folder import RunFolder

__all__ = ["find_shippable", "model_of"]

_OPTION = "path"


def find_shippable(name: str) -> Path:
    """The folder of a model or adapter, by its path, or the run that made it, or `latest`.

    Raises LoraError, in the name of the option `path`, if there is none.
    """
    path = Path(name).expanduser()
    if (path / "config.json").is_file() or is_adapter(path):
        return path
    if path.is_file():
        raise LoraError(f"{_OPTION}: {name} is a file. Give the folder that it lies in.")
    if path.is_dir() and not store.is_run(path):
        raise LoraError(f"{_OPTION}: {name} holds neither a model nor an adapter.")
    run = _run(name)
    model = _model_of(run) if run is not None else None
    return find_adapter(name, _OPTION) if model is None else model


def model_of(name: str) -> Path | None:
    """The model that the run of this name has written, if it is one of fusing or converting."""
    run = None if name == "latest" else _run(name)
    return _model_of(run) if run is not None else None


def _run(name: str) -> RunFolder | None:
    if name == "latest":
        return next((r for r in store.all_runs() if _model_of(r) or r.adapter_path), None)
    try:
        return store.find(name)
    except LoraError:
        return None


def _model_of(run: RunFolder) -> Path | None:
    """The model that a conversion or fusing has written, if it is still there."""
    try:
        config = run.config
        verb = run.verb
    except LoraError:
        return None
    if verb not in ("convert", "fuse"):
        return None
    if not any(isinstance(record.event, ModelSaved) for record in run.records()):
        # What lies there is another run's.
        return None
    named = str(getattr(config, "save_path", "") or getattr(config, "mlx_path", ""))
    started_in = Path(str(run.about.get("folder") or "."))
    found = started_in / Path(named).expanduser()
    return found if (found / "config.json").is_file() else None
