"""A shell with the magics, tiny models, and sweeps made by hand."""

from __future__ import annotations

import pytest

from lora_nb.display import notebook, screen
from tests.tiny import data, home, model
from tests.unit.commands.conftest import Shell, shell, started
from tests.unit.display.made import FakeKernel

__all__ = ["Shell", "data", "home", "kernel", "model", "shell", "started"]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """As if inside a notebook."""
    fake = FakeKernel()
    for module in (notebook, screen):
        monkeypatch.setattr(module, "in_kernel", lambda: True)
        monkeypatch.setattr(module, "new_handle", lambda: fake)
    return fake
