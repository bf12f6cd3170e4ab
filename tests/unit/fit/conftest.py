"""Tiny models and rows."""

from __future__ import annotations

from tests.tiny import data, home, model

__all__ = ["data", "home", "model"]
