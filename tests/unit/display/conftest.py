"""As if inside a notebook."""

from __future__ import annotations

import pytest

from lora_nb.display import notebook, screen
from tests.unit.display.made import FakeKernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """As if inside a notebook."""
    fake = FakeKernel()
    for module in (notebook, screen):
        monkeypatch.setattr(module, "in_kernel", lambda: True)
        monkeypatch.setattr(module, "new_handle", lambda: fake)
    monkeypatch.setattr(notebook, "show", lambda bundle: fake.shown.append(dict(bundle)))
    return fake
