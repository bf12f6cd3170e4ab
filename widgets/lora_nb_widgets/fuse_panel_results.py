"""What came of a fusing or an upload, as HTML: the check's table, files and how to use them."""

from __future__ import annotations

from lora_nb.config import FuseConfig
from lora_nb.display.fidelity import COLUMNS, fidelity_rows
from lora_nb.display.listing import LISTING, listing_rows, listing_title, upload_line
from lora_nb.display.state import RunState
from lora_nb.display.tables import html_table, wrapper
from lora_nb.display.words import size
from lora_nb.runs.folder import RunFolder

__all__ = ["results_html"]


def results_html(state: RunState, run: RunFolder) -> str:
    """The results so far, each under a line of its own; empty before there are any."""
    found = [*_saved(state, run), *_check(state), *_listed(state)]
    return wrapper(*(f'<div style="margin:8px 0;">{part}</div>' for part in found))


def _saved(state: RunState, run: RunFolder) -> list[str]:
    if state.saved is None:
        return []
    told = state.saved
    rows = [
        ("fused model", told.path),
        ("size", f"{size(told.size)}, {told.bits:.2f} bits per weight"),
    ]
    config = run.config
    if isinstance(config, FuseConfig) and config.export_peft:
        rows.append(("adapter for PEFT", config.export_peft))
    if state.gguf:
        rows.append(("GGUF file", f"{state.gguf.path}, {size(state.gguf.size)}"))
        rows += [("checked by", line) for line in state.gguf.checks.splitlines()]
        rows += [("to use it", line) for line in state.gguf.commands.splitlines()]
    return [html_table(rows)]


def _check(state: RunState) -> list[str]:
    found = state.fidelity
    if found is None:
        return []
    caption = f"Compared on {found.rows} {found.source}, {found.tokens} tokens"
    return [html_table(fidelity_rows(found), COLUMNS, caption)]


def _listed(state: RunState) -> list[str]:
    parts = []
    if state.listed:
        parts.append(html_table(listing_rows(state.listed), LISTING, listing_title(state.listed)))
    if state.uploaded:
        parts.append(html_table([("uploaded", upload_line(state.uploaded))]))
    return parts
