"""Generated text as it comes, and what stays of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lora_nb.display import notebook
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.words import plain

__all__ = ["Generated", "StreamView"]

INTERVAL = 0.2
_BLOCK = (
    "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;line-height:1.4;margin:0;"
    "color:inherit;background:transparent;"
)
_SIDE = (
    "text-align:left;vertical-align:top;padding:0 1.2em 0 0;background:transparent;color:inherit;"
)
# Stored and fresh outputs are compared by their first and last states, which hence must be equal.
_EMPTY = {"text/plain": "<lora_nb text>", "text/html": "<div></div>"}


@dataclass(frozen=True)
class Generated:
    """Finished texts by label. `stats` (times, rates) are kept out of what is displayed."""

    texts: Mapping[str, str]
    stats: Mapping[str, str] = field(default_factory=dict)
    shown_in: int | None = field(default=None, compare=False)
    """The cell that shows the texts already, which need them no second time as its result."""

    @property
    def text(self) -> str:
        """The text, or all of them under their labels."""
        if len(self.texts) == 1:
            return next(iter(self.texts.values()))
        return "\n\n".join(f"{label}:\n{text}" for label, text in self.texts.items())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        return bundle_of(self.texts)

    def _ipython_display_(self) -> None:
        if self.shown_in is None or self.shown_in != notebook.this_cell():
            notebook.show(bundle_of(self.texts))


def bundle_of(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts as `text/plain` and escaped `text/html`; several of them side by side."""
    return {"text/plain": Generated(texts).text, "text/html": wrapper(_html(texts))}


def _html(texts: Mapping[str, str]) -> str:
    if len(texts) == 1:
        return _block(next(iter(texts.values())))
    width = f"width:{100 // max(1, len(texts))}%;"
    heads = "".join(f'<th style="{_SIDE}{width}">{escape(label)}</th>' for label in texts)
    cells = "".join(f'<td style="{_SIDE}{width}">{_block(text)}</td>' for text in texts.values())
    return (
        '<table style="table-layout:fixed;width:100%;border-collapse:collapse;color:inherit;">'
        f"<thead><tr>{heads}</tr></thead>"
        f'<tbody><tr style="background:transparent;">{cells}</tr></tbody></table>'
    )


def _block(text: str) -> str:
    return f'<pre style="{_BLOCK}">{escape(text)}</pre>'


class StreamView:
    """Text of one label or several, shown while it comes.

    In a notebook the text grows in an output that is emptied at the end, and the finished text is
    an output of its own; in a terminal the pieces go to stdout. `labels` are those to expect.
    """

    def __init__(
        self, labels: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._expected = tuple(labels)
        self._texts: dict[str, str] = {}
        self._clock = clock
        self._due = 0.0
        self._last: str | None = None
        self._handle = notebook.new_handle() if notebook.in_kernel() else None
        if self._handle:
            self._handle.display(_EMPTY, raw=True, metadata={})

    def feed(self, label: str, text: str) -> None:
        """Add a piece of text to what came under the label."""
        self._texts[label] = self._texts.get(label, "") + text
        if self._handle:
            self._refresh(self._handle)
        else:
            self._write(label, text)

    def close(self, stats: Mapping[str, str] | None = None, *, show: bool = True) -> Generated:
        """End the stream; show the finished text unless it is a cell's result anyhow."""
        shown_in = notebook.this_cell() if show or not self._handle else None
        done = Generated(dict(self._texts), dict(stats or {}), shown_in)
        if self._handle:
            self._handle.update(_EMPTY, raw=True, metadata={})
            if show and self._texts:
                notebook.show(bundle_of(self._texts))
        elif self._texts:
            sys.stdout.write("\n")
            sys.stdout.flush()
        return done

    def _refresh(self, handle: notebook.Handle) -> None:
        now = self._clock()
        if now < self._due:
            return
        self._due = now + INTERVAL
        shown = dict.fromkeys(self._expected, "") | self._texts
        bundle = {"text/plain": _EMPTY["text/plain"], "text/html": wrapper(_html(shown))}
        handle.update(bundle, raw=True, metadata={})

    def _write(self, label: str, text: str) -> None:
        if label != self._last:
            self._last = label
            many = len(self._texts) > 1 or len(self._expected) > 1
            above = "\n\n" if len(self._texts) > 1 else ""
            sys.stdout.write(f"{above}{plain(label)}:\n" if many else "")
        sys.stdout.write(plain(text, lines=True))
        sys.stdout.flush()
