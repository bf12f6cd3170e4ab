"""A shell with the magics, and tiny models."""

from __future__ import annotations

from tests.tiny import data, home, model
from tests.unit.commands.conftest import Shell, shell, started

__all__ = ["Shell", "data", "home", "model", "shell", "started"]
