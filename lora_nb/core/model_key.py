"""What tells one model from another of the same family and shape."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["model_key"]

_PIECES = 16
_PIECE_BYTES = 1 << 20


def model_key(folder: Path) -> str:
    """A hash of a model: its config, and of every weights file name, size, and sixteen pieces.

    All of a large model would take as long to read as to load.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for number in range(_PIECES):
                file.seek(size * number // _PIECES)
                digest.update(file.read(min(_PIECE_BYTES, size // _PIECES + 1)))
    return digest.hexdigest()
