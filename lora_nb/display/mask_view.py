"""One row as training sees it: tokens coloured by what is trained, masked and cut off.

Static HTML without scripts. Trained text is also underlined and text that is cut off struck
through, by elements of that meaning, so that it can be told without colour and without styles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from lora_nb.data.masks import MaskedRow, State, Token
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.visible import visible_html, visible_text
from lora_nb.display.words import plain

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["LONGEST", "MaskView"]

LONGEST = 2000
"""Rows of more tokens are shortened in between."""
_ENDS = 500
_AROUND = 60

_ELEMENTS: dict[State, tuple[str, str]] = {
    "trained": (
        "u",
        "background-color:rgba(0,114,178,0.25);text-decoration:underline;color:inherit;",
    ),
    "masked": ("span", "color:inherit;"),
    "cut": (
        "s",
        "background-color:rgba(213,94,0,0.22);text-decoration:line-through;color:inherit;",
    ),
}
_LEGEND: dict[State, str] = {
    "trained": "trained: the model learns to write it",
    "masked": "masked: read, but not learnt",
    "cut": "cut off: not seen at all",
}
_TOKEN = "border-right:1px solid rgba(128,128,128,0.55);padding:1px;"  # noqa: S105 (a style)
_SPECIAL = "border:1px solid rgba(128,128,128,0.9);border-radius:3px;padding:1px 3px;margin:0 1px;"
_BLOCK = (
    "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;line-height:1.75;"
    "margin:6px 0;padding:0;color:inherit;background:transparent;"
)
_LINE = "margin:2px 0;color:inherit;"
_PLAIN = {"trained": "[{}]", "masked": "{}", "cut": "{{-{}-}}"}
# A character of several tokens is written out with the first of them.
_GOES_ON = "◂"


@dataclass(frozen=True, repr=False)
class MaskView:
    """A row with its mask; `title` says which row it is."""

    row: MaskedRow
    title: str

    @property
    def tokens(self) -> DataFrame:
        """One line for each token: its id, text, state, and whether it is a special one."""
        import pandas as pd

        names = ["id", "text", "state", "special"]
        return pd.DataFrame(
            [[t.id, t.text, t.state, t.special] for t in self.row.tokens], columns=names
        )

    @property
    def text(self) -> str:
        """The row as the template renders it."""
        return "".join(token.text for token in self.row.tokens)

    def __str__(self) -> str:
        return "\n".join([*self._about(), "", *self._notes(), self._plain()])

    __repr__ = __str__

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}

    def html(self) -> str:
        """The row as static HTML, every text escaped."""
        title, counts = self._about()
        head = [f'<div style="{_LINE}"><b>{escape(title)}</b> · {escape(counts)}</div>']
        head += [f'<div style="{_LINE}"><b>{escape(note)}</b></div>' for note in self._notes()]
        return wrapper(
            *head,
            f'<div style="{_LINE}">{self._legend()}</div>',
            f'<pre style="{_BLOCK}">{"".join(self._blocks())}</pre>',
        )

    def _about(self) -> list[str]:
        row = self.row
        counts = [f"{row.kind}, {len(row.tokens):,} tokens"]
        counts += [f"{row.count(state):,} {state}" for state in ("trained", "masked")]
        if cut := row.count("cut"):
            counts.append(f"{cut:,} cut off at {row.limit:,}")
        if row.starts:
            counts.append(f"split into {len(row.starts) + 1} sequences")
        return [plain(self.title), " · ".join(counts)]

    def _notes(self) -> list[str]:
        note = plain(self.row.note)
        return [f"Not trained: {note}"] if note else []

    def _legend(self) -> str:
        used: list[State] = [state for state in _LEGEND if self.row.count(state)]
        parts = [_marked(state, escape(_LEGEND[state])) for state in used]
        if any(token.special for token in self.row.tokens):
            parts.append(f'<b style="{_SPECIAL}">special token</b>')
        parts.append("· blank, ⏎ line end; the id of a token shows when pointed at")
        return " &ensp; ".join(parts)

    def _blocks(self) -> Iterator[str]:
        tokens, starts = self.row.tokens, set(self.row.starts)
        for first, stop, hidden in _windows(tokens):
            if hidden:
                yield f"\n<i>{escape(_left_out(tokens[first:stop]))}</i>\n"
                continue
            numbered = zip(range(first, stop), tokens[first:stop], strict=True)
            for state, group in groupby(numbered, key=_state_of):
                inner = "".join(
                    (_seam(starts, place) if place in starts else "") + _token(token)
                    for place, token in group
                )
                yield _marked(state, inner)

    def _plain(self) -> str:
        tokens = self.row.tokens
        parts: list[str] = []
        for first, stop, hidden in _windows(tokens):
            if hidden:
                parts.append(f"\n{_left_out(tokens[first:stop])}\n")
                continue
            for state, group in groupby(tokens[first:stop], key=lambda token: token.state):
                text = visible_text("".join(token.text for token in group))
                parts.append(_PLAIN[state].format(text))
        return "".join(parts)


def _state_of(numbered: tuple[int, Token]) -> State:
    return numbered[1].state


def _marked(state: State, inner: str) -> str:
    element, look = _ELEMENTS[state]
    return f'<{element} style="{look}">{inner}</{element}>'


def _token(token: Token) -> str:
    inner = visible_html(token.text) or _GOES_ON
    about = f"{token.id} · {token.state}"
    if not token.text:
        about += " · part of the character before it"
    if token.special:
        return f'<b title="{about} · special" style="{_SPECIAL}">{inner}</b>'
    return f'<span title="{about}" style="{_TOKEN}">{inner}</span>'


def _seam(starts: set[int], place: int) -> str:
    number = 2 + sum(start < place for start in starts)
    return f"\n<i>── sequence {number} ──</i>\n"


def _left_out(tokens: tuple[Token, ...]) -> str:
    states = ", ".join(
        f"{count:,} {state}"
        for state in _LEGEND
        if (count := sum(token.state == state for token in tokens))
    )
    return f"… {len(tokens):,} tokens left out here ({states}) …"


def _windows(tokens: tuple[Token, ...]) -> list[tuple[int, int, bool]]:
    """Which tokens are shown: (first, stop, left out), one after the other.

    All of them, or the ends of a long row and, as long as there is room, the places in between
    where the state changes.
    """
    size = len(tokens)
    if size <= LONGEST:
        return [(0, size, False)]
    shown = bytearray(size)
    shown[:_ENDS] = b"\1" * _ENDS
    shown[-_ENDS:] = b"\1" * _ENDS
    for place in range(1, size):
        if tokens[place].state != tokens[place - 1].state:
            first, stop = max(0, place - _AROUND), min(size, place + _AROUND)
            if sum(shown) + stop - first > LONGEST:
                break
            shown[first:stop] = b"\1" * (stop - first)
    windows: list[tuple[int, int, bool]] = []
    for seen, run in groupby(range(size), key=lambda place: shown[place]):
        places = list(run)
        windows.append((places[0], places[-1] + 1, not seen))
    return windows
