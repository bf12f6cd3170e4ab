"""What a run looks like: pictures, lines, tables, live views and the record a notebook keeps.

Names are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_nb.display.alt import alt_text
    from lora_nb.display.background import monitor
    from lora_nb.display.figure import loss_curve
    from lora_nb.display.generation import Generated, StreamView
    from lora_nb.display.live import Follow, LiveView, watch
    from lora_nb.display.overlay import overlay_curves
    from lora_nb.display.picture import png
    from lora_nb.display.progress import progress_line
    from lora_nb.display.record import mimebundle
    from lora_nb.display.tables import RunSummary, escape, html_table, runs_frame, summary_of
    from lora_nb.display.view import RunView

__all__ = [
    "Follow",
    "Generated",
    "LiveView",
    "RunSummary",
    "RunView",
    "StreamView",
    "alt_text",
    "escape",
    "html_table",
    "loss_curve",
    "mimebundle",
    "monitor",
    "overlay_curves",
    "png",
    "progress_line",
    "runs_frame",
    "summary_of",
    "watch",
]

_HOMES = {
    "background": ("monitor",),
    "alt": ("alt_text",),
    "figure": ("loss_curve",),
    "generation": ("Generated", "StreamView"),
    "live": ("Follow", "LiveView", "watch"),
    "overlay": ("overlay_curves",),
    "picture": ("png",),
    "progress": ("progress_line",),
    "record": ("mimebundle",),
    "tables": ("RunSummary", "escape", "html_table", "runs_frame", "summary_of"),
    "view": ("RunView",),
}


def __getattr__(name: str) -> Any:
    # `metrics` is not among them: the module of that name would hide the function.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
