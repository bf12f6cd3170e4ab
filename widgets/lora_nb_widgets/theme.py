"""How panels look: layouts that wrap at 800 px, and Jupyter's own colours, light or dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

__all__ = [
    "LABEL",
    "LIVE",
    "RECORD",
    "STYLE",
    "Fold",
    "button",
    "column",
    "grid",
    "heading",
    "html",
    "look",
    "note",
    "older_record",
    "row",
    "shown",
    "title",
    "wide",
]

LIVE = "lora-nb-panel"
"""Class of a panel's root, which only a live panel has."""
RECORD = "lora-nb-record"
"""Class of the block that a saved notebook keeps of a panel."""

LABEL = "80px"
"""Width of a short label, as inputs have it of themselves."""

_OLDER = (
    "This page was loaded anew, and the notebook keeps an older record of this panel, which it "
    "can't replace any more. To keep what you see, run the panel's cell again, then save."
)

Widget = Any
"""A widget of ipywidgets, which has no type information."""

# Of the two outputs of a panel, the live one hides the record beside it; where there is no kernel
# to make it live, its place holds nothing but a sentence of Jupyter's, and is hidden instead.
STYLE = f"""<style>
.jp-OutputArea-child:has(.{LIVE}) + .jp-OutputArea-child:has(.{RECORD}) {{ display: none; }}
.jp-OutputArea-child:has(+ .jp-OutputArea-child .{RECORD}):not(:has(.jp-OutputArea-output *))
{{ display: none; }}
</style>"""

# Jupyter's own arrow is dark, also on dark paper: two halves of one in the colour of the words.
_ARROW = ", ".join(
    f"linear-gradient({angle}deg, {colours})"
    for angle, colours in (
        (45, "transparent 50%, var(--jp-ui-font-color1) 50%"),
        (-45, "transparent 50%, var(--jp-ui-font-color1) 50%"),
    )
)

# The ring of focus is named three times: Jupyter's rules against one are many, and important.
_LOOK = f"""<style>
.{LIVE} {{ color: var(--jp-ui-font-color1); max-width: 100%; padding: 2px 2px 6px 2px; }}
.{LIVE} .widget-html-content {{ line-height: 1.45; }}
.{LIVE} .lora-nb-fold {{ text-align: left; background: transparent; font-weight: 600;
  color: var(--jp-ui-font-color1); border-bottom: 1px solid var(--jp-border-color2);
  box-shadow: none; }}
.{LIVE} .lora-nb-tabs {{ border-bottom: 1px solid var(--jp-border-color1); margin-bottom: 6px; }}
.{LIVE} .lora-nb-tabs .widget-toggle-button {{ background: transparent; box-shadow: none;
  color: var(--jp-ui-font-color1); font-size: 105%; border-bottom: 3px solid transparent; }}
.{LIVE} .lora-nb-tabs .widget-toggle-button.mod-active {{ font-weight: 600;
  border-bottom-color: var(--jp-brand-color1); }}
.{LIVE} .lora-nb-error {{ white-space: pre-wrap; overflow-wrap: anywhere;
  color: var(--jp-ui-font-color1); background: var(--jp-rendermime-error-background);
  border-left: 4px solid var(--jp-error-color1); padding: 4px 10px; margin: 2px 0; }}
.{LIVE} .lora-nb-note {{ white-space: pre-wrap; overflow-wrap: anywhere;
  color: var(--jp-ui-font-color1); background: var(--jp-layout-color2);
  border-left: 4px solid var(--jp-brand-color1); padding: 4px 10px; margin: 2px 0; }}
.{LIVE} .lora-nb-older {{ display: none; }}
@keyframes lora-nb-late {{ from {{ visibility: hidden; position: absolute; }} }}
.{LIVE} .lora-nb-head {{ font-weight: 600; font-size: 110%; margin: 4px 0 2px 0; }}
.{LIVE} .lora-nb-quiet {{ color: var(--jp-ui-font-color2); overflow-wrap: anywhere; }}
.{LIVE} .lora-nb-scroll {{ overflow-x: auto; }}
.{LIVE} .widget-checkbox input {{ vertical-align: -2px; }}
.{LIVE} .widget-toggle-buttons > .widget-label {{ text-align: right; margin-right: 6px;
  flex-shrink: 0; }}
.{LIVE} textarea {{ font-family: var(--jp-code-font-family); min-height: 28px; }}
.{LIVE} .widget-dropdown > select {{ background-repeat: no-repeat; background-size: 5px 5px;
  background-image: {_ARROW}; padding-right: 22px;
  background-position: right 13px center, right 8px center; }}
.{LIVE}.{LIVE}.{LIVE} :focus-visible {{ outline: 2px solid var(--jp-brand-color1) !important;
  outline-offset: 1px; }}
.{LIVE} input::placeholder, .{LIVE} textarea::placeholder
{{ color: var(--jp-ui-font-color2); opacity: 1; }}
</style>"""


def html(value: str = "") -> Widget:
    """A block of HTML; whoever makes it escapes what comes from outside."""
    return ipywidgets.HTML(value, layout=ipywidgets.Layout(width="auto", max_width="100%"))


def look() -> Widget:
    """The widget that carries the style sheet of live panels."""
    return ipywidgets.HTML(_LOOK, layout=ipywidgets.Layout(display="none"))


def older_record(panel: str, mark: str) -> str:
    """A note that is seen while the record beside a panel does not bear this mark.

    `panel` is a class that only this panel has.
    """
    beside = f"+ .jp-OutputArea-child .{RECORD}:not(.{mark})"
    return (
        f"<style>.jp-OutputArea-child:has(.{panel}):has({beside}) .{panel} .lora-nb-older "
        "{ display: block; animation: lora-nb-late 1.5s step-end; }</style>"
        f'<div class="lora-nb-older lora-nb-note">{_escape(_OLDER)}</div>'
    )


def row(*children: Widget) -> Widget:
    """Widgets side by side, in further lines where there is no room."""
    layout = ipywidgets.Layout(
        display="flex", flex_flow="row wrap", align_items="center", width="100%"
    )
    return ipywidgets.Box(children, layout=layout)


def grid(*children: Widget, least: str = "330px") -> Widget:
    """Widgets in columns of equal width, as many as there is room for."""
    columns = f"repeat(auto-fill, minmax(min(100%, {least}), 1fr))"
    layout = ipywidgets.Layout(
        grid_template_columns=columns, width="100%", align_items="flex-start"
    )
    return ipywidgets.GridBox(children, layout=layout)


def column(*children: Widget) -> Widget:
    """Widgets below one another, as wide as there is room."""
    return ipywidgets.VBox(children, layout=ipywidgets.Layout(width="100%"))


def wide(least: str = "320px") -> Widget:
    """The layout of an input with its label, which shares a line with others where it can."""
    return ipywidgets.Layout(width=least, flex=f"1 1 {least}", max_width="100%", margin="2px 8px")


def button(text: str, action: Callable[[], None], *, hint: str = "", main: bool = False) -> Widget:
    """A button that calls `action`; `main` for the one that a panel is about."""
    made = ipywidgets.Button(
        description=text,
        tooltip=hint or text,
        button_style="primary" if main else "",
        layout=ipywidgets.Layout(width="auto", min_width="5.5em"),
    )
    made.on_click(lambda _: action())
    return made


def heading(text: str) -> Widget:
    """A line of text (escaped here) above others."""
    return html(f'<div class="lora-nb-head">{_escape(text)}</div>')


def title(text: str) -> str:
    """A line of text (escaped here) above others in a record, as HTML."""
    return f'<div style="margin:10px 0 2px 0;color:inherit;font-weight:bold;">{_escape(text)}</div>'


def note(text: str, kind: str = "note") -> str:
    """A sentence (escaped here) as HTML in a box: kind `note`, `error`, or `quiet` for no box."""
    return f'<div class="lora-nb-{kind}">{_escape(text)}</div>' if text else ""


def shown(widget: Widget, yes: bool, display: str = "") -> None:
    """Show or hide a widget."""
    widget.layout.display = display if yes else "none"


class Fold:
    """A part of a panel below a line that opens and closes it, by mouse and keyboard."""

    def __init__(
        self, title: str, make: Callable[[], Widget], *, is_open: bool = False, hint: str = ""
    ) -> None:
        self._make = make
        self._is_made = False
        self.head = ipywidgets.ToggleButton(
            value=is_open,
            description=title,
            tooltip=hint or title,
            layout=ipywidgets.Layout(width="100%", margin="4px 0 0 0"),
        )
        self.head.add_class("lora-nb-fold")
        self._place = column()
        self.widget = column(self.head, self._place)
        self.head.observe(self._follow, "value")
        self._follow()

    def open(self) -> None:
        """Open it."""
        self.head.value = True

    def title(self, text: str) -> None:
        """Write another title on its line."""
        self.head.description = text

    def _follow(self, _: object = None) -> None:
        # Made when it is first wanted: a panel of closed folds is there at once.
        if self.head.value and not self._is_made:
            self._place.children = (self._make(),)
            self._is_made = True
        self.head.icon = "caret-down" if self.head.value else "caret-right"
        shown(self._place, self.head.value)


def _escape(text: str) -> str:
    from lora_nb.display.tables import escape

    return escape(text)
