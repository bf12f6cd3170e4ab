"""The embedded demo: a small language model and text-to-SQL rows; nothing is downloaded."""

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent

MODEL_PATH: Final[Path] = _HERE / "model"
"""Folder of the demo model, in Hugging Face layout."""

DATA_PATH: Final[Path] = _HERE / "data"
"""Folder with `train.jsonl`, `valid.jsonl` and `test.jsonl` (prompt and completion)."""

DEFAULTS_PATH: Final[Path] = _HERE / "train.yaml"
"""Training options that suit the demo, with mlx-lm's keys."""

__all__ = ["DATA_PATH", "DEFAULTS_PATH", "MODEL_PATH"]
