"""Tiny models and rows, and runs without a worker."""

from __future__ import annotations

from tests.tiny import data, home, model

__all__ = ["data", "home", "model"]
