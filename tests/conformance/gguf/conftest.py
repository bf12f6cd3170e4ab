"""Models for llama.cpp, without compiled kernels: compiling them costs minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest


@pytest.fixture(scope="package", autouse=True)
def uncompiled() -> Iterator[None]:
    """MLX computes step by step in this package."""
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this package's models."""
    return tmp_path_factory.mktemp("gguf-models")
