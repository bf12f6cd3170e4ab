"""What is seen of a run: its picture, how far it is, its numbers, its end, its events and log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from lora_nb.display.picture import base64_text
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.words import plain
from lora_nb.runs.death import explain
from lora_nb.runs.events import Record
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.training_monitor_events import events_html, numbers_html
from lora_nb_widgets.training_monitor_follow import LIVE, Follower, Look

__all__ = ["RunView", "log_html", "unseen"]

_LOG_LINES = 40
_EVENTS_HEIGHT = "190px"
_BAR = {"failed": "danger", "aborted": "danger", "crashed": "danger", "completed": "success"}


class RunView:
    """The view of one run after the other. `follower` makes what a thread then has to do.

    Once the panel's `root` is closed, nothing is followed any more.
    """

    def __init__(self, root: theme.Widget, *, events: bool = True) -> None:
        self._root = root
        self.look: Look | None = None
        self._follower: Follower | None = None
        self.picture = ipywidgets.Image(
            format="png", layout=ipywidgets.Layout(max_width="100%", height="auto")
        )
        self.bar = ipywidgets.FloatProgress(
            value=0.0, max=1.0, layout=ipywidgets.Layout(width="99%", height="10px", margin="0 4px")
        )
        self.line = theme.html()
        self.numbers = theme.html()
        self.end = theme.html()
        self.events = theme.html()
        self.scroll = ipywidgets.Box(
            (self.events,),
            tabbable=True,
            layout=ipywidgets.Layout(
                max_height=_EVENTS_HEIGHT, overflow="auto", width="100%", display="block"
            ),
        )
        parts = (self.picture, self.bar, self.line, self.numbers, self.end)
        more = (theme.heading("Events"), self.scroll) if events else ()
        self.widget = theme.column(*parts, *more)
        self.clear()

    @property
    def status(self) -> str:
        """The state of the run as far as it is shown, empty before the first look."""
        return self.look.status if self.look else ""

    def is_over(self, run: RunFolder) -> bool:
        """Whether a run has ended; its worker may take a moment longer to go."""
        return self.look.last if self.look else run.status not in LIVE

    def clear(self) -> None:
        """Show no run."""
        self.close()
        self.look = None
        for part in (self.picture, self.bar):
            theme.shown(part, False)
        for told in (self.line, self.numbers, self.end, self.events):
            told.value = ""

    def close(self) -> None:
        """Follow the run no longer; what is shown stays."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def follower(self, run: RunFolder, then: Callable[[], None]) -> Follower:
        """Show this run from now on, once a thread calls `follow`; `then` after every look."""
        self.clear()
        self.line.value = f'<div class="lora-nb-quiet">{escape(plain(run.name))}…</div>'

        def show(look: Look) -> None:
            self._show(run, look)
            then()

        self._follower = Follower(run, show, self._tell, lambda: self._root.comm is None)
        return self._follower

    def picture_html(self) -> str:
        """The picture that is shown, as HTML that stays; empty if there is none."""
        if self.look is None or not self.look.picture:
            return ""
        width, height = self.look.size
        return (
            f'<img src="data:image/png;base64,{base64_text(self.look.picture)}" '
            f'alt="{escape(self.look.alt)}" width="{width}" height="{height}" '
            'style="max-width:100%;height:auto;">'
        )

    def _show(self, run: RunFolder, look: Look) -> None:
        self.look = look
        self.picture.value = look.picture
        self.picture.width = str(look.size[0])
        theme.shown(self.picture, bool(look.picture))
        self._progress(look)
        # The picture bears the run's name; without one the line does.
        named = unseen(look.alt) if look.picture else theme.note(plain(run.name), "quiet")
        line = f"<div><b>{escape(look.line)}</b></div>"
        if look.status == "failed":
            line = theme.note(look.line, "error")
        self.line.value = wrapper(f"{named}{line}")
        self.numbers.value = numbers_html(look.state)
        self.end.value = _end(run, look)

    def _progress(self, look: Look) -> None:
        state = look.state
        told = state.progress
        if state.planned:
            self.bar.value = min(1.0, state.step / state.planned)
        elif told and told.total > 0:
            self.bar.value = min(1.0, told.done / told.total)
        elif look.status == "completed":
            self.bar.value = 1.0
        self.bar.bar_style = _BAR.get(look.status, "info")
        theme.shown(self.bar, True)

    def _tell(self, records: Sequence[Record]) -> None:
        self.events.value = events_html(records)


def unseen(text: str) -> str:
    """Words for those who do not see the picture: the widget of a picture has none of its own."""
    hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);"
    return f'<span style="{hidden}">{escape(text)}</span>'


def _end(run: RunFolder, look: Look) -> str:
    """What there is to say of a run that did not end well, and how it can go on."""
    if look.status in LIVE or look.status == "completed":
        return ""
    parts = []
    if look.status == "crashed":
        # It says how to go on, too.
        return wrapper(theme.note(explain(run), "error"), log_html(run, 8))
    if run.verb == "train" and run.checkpoints:
        step = run.checkpoints[-1].step
        parts.append(
            f'<div class="lora-nb-note">Go on from its checkpoint of step {step}: '
            f"<code>%lora_train --resume {escape(run.name)}</code></div>"
        )
    return wrapper(*parts)


def log_html(run: RunFolder, lines: int = _LOG_LINES) -> str:
    """The last lines that a worker has printed, escaped."""
    text = plain(run.log_tail(lines), lines=True)
    if not text.strip():
        return theme.note("The worker has printed nothing.", "quiet")
    style = (
        "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;margin:2px 0;"
        "padding:4px 10px;color:inherit;"
        "background:var(--jp-layout-color2,transparent);font-family:monospace;font-size:90%;"
    )
    return wrapper(f'<pre style="{style}">{escape(text)}</pre>')
