"""A Modelfile for Ollama beside a GGUF file."""

from __future__ import annotations

from pathlib import Path

from lora_nb.errors import LoraError

__all__ = ["write_modelfile"]

_FIRST = "# Made by lora_nb for "


def write_modelfile(path: Path, stops: list[str]) -> Path | None:
    """Write `Modelfile` beside the GGUF file, which may replace one of ours but no other.

    `stops` are the texts that end an answer. None if there is another one already.
    """
    target = path.with_name("Modelfile")
    if target.exists() and not target.read_text("utf-8", "replace").startswith(_FIRST):
        return None
    usable = [stop for stop in stops if stop.strip() and '"' not in stop]
    lines = [
        f"{_FIRST}{path.name}",
        f"FROM ./{path.name}",
        *(f'PARAMETER stop "{stop}"' for stop in usable),
    ]
    try:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as problem:
        raise LoraError(f"gguf: {target} can't be written: {problem}.") from problem
    return target
