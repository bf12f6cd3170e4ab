"""Text with nothing hidden in it: blanks, line ends and odd characters made visible as HTML."""

from __future__ import annotations

import re

from lora_nb.display.tables import escape

__all__ = ["visible_html", "visible_text"]

_RUNS = re.compile(r" +|\n|\r|\t|[^ \n\r\t]+")
_FAINT = '<span style="opacity:0.55;">{}</span>'
_MARKS = {"\n": "⏎\n", "\r": "␍", "\t": "→\t"}


def visible_html(text: str) -> str:
    """Escaped text in which blanks are faint dots, and tabs and line ends arrows.

    Lines may still be broken after a blank, and are where the text breaks them.
    """
    return "".join(_run(run) for run in _RUNS.findall(text))


def _run(run: str) -> str:
    if run[0] == " ":
        return _FAINT.format("·" * len(run)) + "<wbr>"
    if run in _MARKS:
        mark = _MARKS[run]
        return _FAINT.format(mark[0]) + mark[1:]
    return escape("".join(map(_shown, run)))


def visible_text(text: str) -> str:
    """Text for a terminal: line ends and tabs kept, odd characters written as escapes."""
    return "".join(char if char in "\n\t" else _shown(char) for char in text)


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
