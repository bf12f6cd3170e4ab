"""Tiny models, and one place for compiled kernels."""

from __future__ import annotations

from tests.tiny import data, home, kernels, model

__all__ = ["data", "home", "kernels", "model"]
