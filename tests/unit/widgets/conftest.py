"""Tiny models and rows, runs that go on until they are ended, and engines that are let go."""

from __future__ import annotations

from tests.faults.conftest import endless, engines
from tests.tiny import data, finished, home, kernels, model

__all__ = ["data", "endless", "engines", "finished", "home", "kernels", "model"]
