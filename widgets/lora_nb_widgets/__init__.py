"""Panels for the notebook: forms, an explorer of data, a monitor of runs, and the studio.

They only call the verbs of `lora_nb.api` and draw with `lora_nb.display`; everything a panel does
can be written down, and each shows how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_nb_widgets.config_form import ConfigForm
    from lora_nb_widgets.dataset_explorer import DatasetExplorer
    from lora_nb_widgets.fuse_panel import FusePanel
    from lora_nb_widgets.playground import Playground
    from lora_nb_widgets.studio import Studio
    from lora_nb_widgets.training_monitor import TrainingMonitor

__all__ = [
    "ConfigForm",
    "DatasetExplorer",
    "FusePanel",
    "Playground",
    "Studio",
    "TrainingMonitor",
]

_HOMES = {
    "ConfigForm": "config_form",
    "DatasetExplorer": "dataset_explorer",
    "FusePanel": "fuse_panel",
    "Playground": "playground",
    "Studio": "studio",
    "TrainingMonitor": "training_monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
