"""Packages with their versions, and the settings of the Hub."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lora_nb.environment_report.report import Check

__all__ = ["hub", "packages"]

_PACKAGES = (
    "mlx", "mlx-lm", "transformers", "huggingface_hub", "datasets", "jupyterlab", "ipykernel",
    "ipywidgets", "matplotlib", "pandas",
)  # fmt: skip
_OPTIONAL = {"wandb": "--report-to wandb", "swanlab": "--report-to swanlab"}


def packages() -> Iterator[Check]:
    """Whether the packages are there, in versions that were tested."""
    wanted = _wanted()
    for name in _PACKAGES:
        version = _version(name)
        specifier = wanted.get(name.lower().replace("_", "-"))
        if not version:
            yield Check(name, "missing", ok=False, remedy=f"pip install {name}")
        elif specifier is not None and not specifier.contains(version, prereleases=True):
            yield Check(
                name, version, ok=False, remedy=f"Not tested: pip install '{name}{specifier}'"
            )
        else:
            yield Check(name, version, ok=True)
    for name, use in _OPTIONAL.items():
        version = _version(name)
        remedy = "" if version else f"pip install {name}, only for {use}"
        yield Check(name, version or "not installed", remedy=remedy)


def _wanted() -> dict[str, Any]:
    """The version ranges this package asks for, by the packages' names."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("lora-nb") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = [Requirement(line) for line in lines]
    return {r.name.lower().replace("_", "-"): r.specifier for r in found}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def hub() -> Iterator[Check]:
    """Whether there is a token, and which settings hold."""
    where = _token_place()
    yield Check(
        "Hub token",
        f"set ({where})" if where else "none",
        remedy="" if where else "`hf auth login`, only for gated models and uploads.",
    )
    if endpoint := os.environ.get("HF_ENDPOINT"):
        parts = urlsplit(endpoint)
        yield Check("HF_ENDPOINT", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}:
            yield Check(name, "on", remedy="Models and data come from the local cache only.")


def _token_place() -> str:
    """Where a Hub token is set; the token itself is not read."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    file = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
    return str(file) if file.is_file() and file.stat().st_size else ""
