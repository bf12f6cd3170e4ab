"""Figures as PNG bytes, small enough to stay in a notebook."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import BboxBase
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["Canvas", "Pixels", "base64_text", "canvas_of", "encoded", "pixels_of", "png"]

_COLOURS = 64
# Levels of zlib.
_QUICK = 1
_USUAL = -1


class Canvas(Protocol):
    """What a figure is drawn on, in pixels (matplotlib's own canvas is not typed)."""

    def draw(self) -> None:
        """Draw the whole figure."""
        ...

    def get_renderer(self) -> RendererAgg:
        """What draws on it."""
        ...

    def buffer_rgba(self) -> memoryview:
        """The pixels, four bytes each."""
        ...

    def get_width_height(self) -> tuple[int, int]:
        """In pixels."""
        ...

    def copy_from_bbox(self, bbox: BboxBase) -> object:
        """A copy of a part of the pixels."""
        ...

    def restore_region(self, region: object) -> None:
        """Put a copy back to where it is from."""
        ...


def canvas_of(figure: Figure) -> Canvas:
    """A canvas for a figure, in the place of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    return cast("Canvas", FigureCanvasAgg(figure))


def pixels_of(canvas: Canvas) -> Pixels:
    """The pixels of what has been drawn: lines, columns, four values; they can be written, too."""
    import numpy as np

    pixels: Pixels = np.asarray(canvas.buffer_rgba())
    return pixels


def png(figure: Figure, dpi: float | None = None) -> bytes:
    """The figure as a PNG with a palette; `dpi` other than the figure's own draws it finer."""
    if dpi is not None:
        figure.set_dpi(dpi)
    canvas = canvas_of(figure)
    canvas.draw()
    return encoded(canvas)


def encoded(canvas: Canvas, *, quick: bool = False) -> bytes:
    """What has been drawn as a PNG with a palette; a `quick` one is a little larger."""
    from PIL import Image

    size = canvas.get_width_height()
    image = Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba()))
    small = image.convert("RGB").quantize(
        _COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    out = io.BytesIO()
    small.save(out, format="PNG", compress_level=_QUICK if quick else _USUAL)
    return out.getvalue()


def base64_text(picture: bytes) -> str:
    """PNG bytes as the text a display bundle or data URI holds."""
    return base64.b64encode(picture).decode("ascii")
