"""Fusing without compiled kernels: compiling them costs minutes, and changes no result."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import pytest


@pytest.fixture(scope="package", autouse=True)
def uncompiled() -> Iterator[None]:
    """MLX computes step by step in this package."""
    mx.disable_compile()
    yield
    mx.enable_compile()
