"""Pictures that grow layer by layer: what has not changed is kept as pixels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.transforms import BboxBase

    from lora_nb.display.picture import Canvas

__all__ = ["Layer", "Layers"]


@dataclass(frozen=True)
class Layer:
    """A part of a picture; equal `key`s mean equal pixels.

    `paint` draws it over those below, and tells the canvas and which part of it to keep.
    """

    key: Hashable
    paint: Callable[[], tuple[Canvas, BboxBase]]


@dataclass(frozen=True)
class _Kept:
    key: Hashable
    canvas: Canvas
    pixels: object

    def restore(self) -> None:
        self.canvas.restore_region(self.pixels)


class Layers:
    """Draws layers from the lowest one that has changed; `painted` counts how often each was."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self.painted: list[int] = []

    def show(self, layers: Sequence[Layer]) -> None:
        """Have the canvas show these layers, and nothing that was drawn over them."""
        same = 0
        for kept, layer in zip(self._kept, layers, strict=False):
            if kept.key != layer.key:
                break
            same += 1
        del self._kept[same:]
        if self._kept:
            self._kept[-1].restore()
        for layer in layers[same:]:
            self._paint(layer)

    def _paint(self, layer: Layer) -> None:
        place = len(self._kept)
        canvas, box = layer.paint()
        self._kept.append(_Kept(layer.key, canvas, canvas.copy_from_bbox(box)))
        self.painted += [0] * (place + 1 - len(self.painted))
        self.painted[place] += 1
