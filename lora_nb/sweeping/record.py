"""The static record of a sweep: its trials as a table, and their curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_nb.config.values import said
from lora_nb.display.overlay import DPI, overlay_alt, overlay_of
from lora_nb.display.picture import base64_text, png
from lora_nb.display.progress import reason_of
from lora_nb.display.tables import escape, html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.display.words import loss, plain
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import in_words
from lora_nb.sweeping.board import Board, Row

__all__ = ["leaderboard_bundle", "sweep_bundle"]

_FINE = 2
_SHOWN = 20


def sweep_bundle(sweep: RunFolder) -> dict[str, Any]:
    """The sweep as `text/plain`, escaped `text/html` with its picture, and `image/png`.

    As in the record of a run there are no times in its texts.
    """
    board = Board(sweep)
    about = _about(board)
    head, rows, more = _ranking(board)
    states = board.states()
    drawn = overlay_of(states, title=sweep.name, lines=[board.line()])
    width, height = (round(side * DPI) for side in drawn.get_size_inches())
    picture = base64_text(png(drawn, DPI * _FINE))
    room = max(len(name) for name, _ in about)
    lines = ["<lora_nb sweep>", *(f"  {name:<{room}}  {value}" for name, value in about)]
    image = (
        f'<img src="data:image/png;base64,{picture}" alt="{escape(overlay_alt(states))}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto;">'
    )
    return {
        "text/plain": "\n".join([*lines, "", text_table(head, rows), *more]),
        "text/html": wrapper(html_table(about), html_table(rows, head, *more), image),
        "image/png": picture,
    }


def leaderboard_bundle(sweep: RunFolder) -> dict[str, str]:
    """The ranking alone, for below a picture that is there already."""
    head, rows, more = _ranking(Board(sweep))
    return {
        "text/plain": "\n".join([text_table(head, rows), *more]),
        "text/html": wrapper(html_table(rows, head, *more)),
    }


def _about(board: Board) -> list[tuple[str, str]]:
    sweep, ended = board.sweep, board.sweep.ended
    options = sweep.config_items()
    known = [
        ("run", sweep.name),
        ("status", f"sweep, {sweep.status}"),
        ("reason", reason_of(ended) if ended else ""),
        ("model", options.get("model", "")),
        ("data", options.get("data", "")),
        ("trials", f"{len(board.rows)}"),
        ("best", _first(board)),
        ("adapter", ended.adapter_path if ended else ""),
    ]
    return [(name, plain(value)) for name, value in known if value]


def _first(board: Board) -> str:
    first = board.first()
    if first is None:
        return ""
    return f"validation loss {loss(first.best)} with {in_words(first.trial.values)}"


def _ranking(board: Board) -> tuple[list[str], list[list[str]], list[str]]:
    """Head and rows of the table, and a line about those that are left out."""
    ranked = board.ranked()
    options = list(ranked[0].trial.values)
    head = ["trial", *options, "status", "best valid", "at step", "run"]
    rows = [_cells(row, options) for row in ranked[:_SHOWN]]
    more = len(ranked) - _SHOWN
    return head, rows, [f"and {more} more trials in .leaderboard"] if more > 0 else []


def _cells(row: Row, options: Sequence[str]) -> list[str]:
    best = row.state.best
    return [
        f"{row.trial.number}",
        *(said(row.trial.values[key]) for key in options),
        row.status,
        loss(best.loss) if best else "",
        f"{best.step}" if best else "",
        row.run.name if row.run else "",
    ]
