"""What all tests share: no network, and run folders of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports huggingface_hub, which reads it once; the tests' processes inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def runs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that takes the runs of one test. Compiled kernels stay in the shared cache."""
    root = tmp_path / "runs"
    monkeypatch.setenv("LORA_NB_RUNS", str(root))
    return root
