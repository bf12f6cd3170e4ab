"""Generating with a complete config, and the text as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lora_nb.api.starting import named
from lora_nb.config import GenerateConfig
from lora_nb.display import StreamView
from lora_nb.errors import NO_PROMPT, LoraError
from lora_nb.runs import engine

if TYPE_CHECKING:
    from lora_nb.display import Generated

__all__ = ["generated", "release"]


def generated(config: GenerateConfig, *, compare: bool = False) -> Generated:
    """Generate with a complete config; the text is shown as it comes and stays."""
    if compare and not config.adapter_path:
        raise LoraError("--compare needs an adapter: give --adapter-path.")
    if not (config.prompt or "").strip():
        # Said here, before a model is fetched for nothing.
        raise LoraError(NO_PROMPT)
    config = named(config)
    labels = ("base", "adapter") if compare else ("adapter" if config.adapter_path else "base",)
    view = StreamView(labels)
    stats: dict[str, str] = {}
    pieces = engine.generate(config, labels)
    try:
        for piece in pieces:
            view.feed(piece.label, piece.text)
            stats |= {f"{piece.label} {key}": _short(value) for key, value in piece.stats.items()}
    except KeyboardInterrupt:
        stats["interrupted"] = "yes"
    finally:
        _close(pieces)
    return view.close(stats)


def _close(pieces: Iterator[engine.Piece]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def release() -> bool:
    """Free the memory of the generation engine; False if there is none."""
    return engine.release()
