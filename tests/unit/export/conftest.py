"""Tiny models, and one training that all tests fuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lora_nb.runs.compiler import kernel_folder
from tests.tiny import data, finished, home, model

__all__ = ["data", "finished", "home", "kernels", "model"]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """MLX's kernels where workers keep theirs, so that each is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(kernel_folder()))
        yield
