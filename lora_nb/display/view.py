"""What the display needs to know of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lora_nb.runs.events import Record

__all__ = ["RunView"]


class RunView(Protocol):
    """A run that can be shown; a run folder is one."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        ...

    @property
    def path(self) -> Path:
        """Its folder."""
        ...

    @property
    def verb(self) -> str:
        """What it does: train or test."""
        ...

    @property
    def status(self) -> str:
        """How it stands: running, paused, completed, crashed and so on."""
        ...

    def records(self) -> list[Record]:
        """Every event so far."""
        ...

    def config_items(self) -> Mapping[str, str]:
        """Its options in words, `model` and `data` among them."""
        ...
