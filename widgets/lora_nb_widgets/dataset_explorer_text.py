"""The words of the explorer: findings to choose from, counts, a row as it is."""

from __future__ import annotations

import json

from lora_nb.data.findings import Finding
from lora_nb.dataset.places import find_row
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.visible import visible_html
from lora_nb_widgets.dataset_explorer_source import Chosen, Source

__all__ = ["counted", "option", "plain_row"]

_BADGES = {"error": "✖", "warning": "▲", "info": "i"}
_LONGEST = 90
_MOST = 20_000
_BLOCK = (
    "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;margin:0 0 6px 1em;"
    "color:inherit;background:transparent;padding:0;"
)


def option(finding: Finding) -> tuple[str, Finding]:
    """A finding as one of those that rows can be chosen by."""
    times = f"{finding.count:,} x " if finding.count > 1 else ""
    words = f"{_BADGES[finding.severity]} {finding.split}: {times}{finding.message}"
    return (words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"), finding


def counted(chosen: Chosen, text: str) -> str:
    """How many rows were chosen, and how."""
    count = len(chosen.numbers)
    words = f"{count:,} {'row' if count == 1 else 'rows'} of {chosen.name}"
    if text:
        words += f" with '{text}'"
    return f"{words} ({chosen.note})" if chosen.note else words


def plain_row(source: Source, place: int | str) -> str:
    """A row without a model as HTML: its values in full, nothing in them hidden."""
    name, rows, number = find_row(source.splits, place)
    parts = [f"<div><b>{escape(f'{name} row {number} ({rows.where(number)})')}</b></div>"]
    for key, value in rows.row(number).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        cut = f"\n… {len(text) - _MOST:,} characters left out" if len(text) > _MOST else ""
        parts.append(f"<div>{escape(key)}</div>")
        parts.append(f'<pre style="{_BLOCK}">{visible_html(text[:_MOST])}{cut}</pre>')
    return wrapper(*parts)
