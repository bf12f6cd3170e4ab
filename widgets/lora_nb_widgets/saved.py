"""What a notebook keeps of a panel: a record beside the live view, for readers without a kernel.

A saved live view is no more than the name of a model in a kernel that is gone. So a panel has two
outputs: its view, and a static record which is hidden while the view lives. The record is replaced
as the panel changes, now and then: nobody sees it, but the next save of the notebook takes it.

A page that was loaded anew has its outputs from the file, and no longer knows which of them is the
kernel's to replace. So each record bears a mark made from what it says, and the panel is told the
newest one: it can see whether the record beside it is an older one.
"""

from __future__ import annotations

import contextvars
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

from lora_nb.display.notebook import Handle, new_handle
from lora_nb.display.tables import escape
from lora_nb.errors import LoraError
from lora_nb_widgets.theme import RECORD, STYLE

__all__ = ["SavedRecord", "record_html"]

_INTERVAL = 2.0
_SOON = 0.1


def record_html(inner: str) -> str:
    """The record's HTML: no script, and a style that hides it, or the view that isn't there."""
    classes = f"{RECORD} tex2jax_ignore mathjax_ignore {_mark(inner)}"
    return f'<div class="{classes}">{STYLE}{inner}</div>'


def _mark(inner: str) -> str:
    """A class that only records have which say the same."""
    return f"{RECORD}-{hashlib.sha256(inner.encode()).hexdigest()[:12]}"


class SavedRecord:
    """The second output of a panel. `make` gives its HTML; `text` is its constant plain text.

    `told` is called with the mark of the record whenever another one has been shown.
    """

    def __init__(
        self,
        make: Callable[[], str],
        text: str,
        *,
        told: Callable[[str], None] = lambda _: None,
        handle: Callable[[], Handle] = new_handle,
        interval: float = _INTERVAL,
    ) -> None:
        self._make = make
        self._text = text
        self._told = told
        self._new_handle = handle
        self._interval = interval
        self._handles: list[Handle] = []
        self._shown = ""
        self._due = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def show(self) -> None:
        """Put the record below what the cell has shown so far."""
        html = self._made()
        with self._lock:
            self._shown = html
            handle = self._new_handle()
            handle.display(self._bundle(), raw=True, metadata={})
            # A panel may be shown in several cells.
            self._handles.append(handle)
        self._told(_mark(html))

    def changed(self) -> None:
        """Bring the record up to date soon, in a thread: drawing it is no work for a handler."""
        with self._lock:
            if not self._handles or self._timer is not None:
                return
            wait = max(_SOON, self._due - time.monotonic())
            context = contextvars.copy_context()
            self._timer = threading.Timer(wait, context.run, (self.flush,))
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Bring the record up to date now."""
        with self._lock:
            # What changes from here on is for the next time.
            self._timer = None
            self._due = time.monotonic() + self._interval
        html = self._made()
        with self._lock:
            if html == self._shown:
                return
            self._shown = html
            bundle = self._bundle()
            handles = list(self._handles)
        for handle in handles:
            handle.update(bundle, raw=True, metadata={})
        self._told(_mark(html))

    def _made(self) -> str:
        try:
            return self._make()
        except (LoraError, OSError, ValueError) as problem:
            # A run's folder may be gone meanwhile; a thread has nobody to raise to.
            return f"<div>{escape(problem)}</div>"

    def _bundle(self) -> dict[str, Any]:
        return {"text/plain": self._text, "text/html": record_html(self._shown)}
