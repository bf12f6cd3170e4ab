"""The static record of a run: what a notebook keeps of it, without a kernel or JavaScript.

Its texts hold no times and rates, so that a notebook which is run again and compared with itself
agrees; these stand in the picture.
"""

from __future__ import annotations

from typing import Any

from lora_nb.display import card, figure
from lora_nb.display.fidelity import COLUMNS, fidelity_rows
from lora_nb.display.listing import (
    LISTING,
    listing_rows,
    listing_text,
    listing_title,
    upload_line,
)
from lora_nb.display.picture import base64_text, png
from lora_nb.display.progress import line_of, reason_of, silent_end
from lora_nb.display.state import RunState, state_of
from lora_nb.display.tables import escape, html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.display.view import RunView
from lora_nb.display.words import loss, plain, size
from lora_nb.runs.death import explain
from lora_nb.runs.folder import RunFolder

__all__ = ["mimebundle"]

_FINE = 2
# A weight that is not quantised has 16 bits at least.
_PLAIN_BITS = 16


def mimebundle(view: RunView) -> dict[str, Any]:
    """The run as `text/plain`, escaped `text/html` with its picture, and `image/png`.

    The picture stands alone too, since front ends show no HTML of notebooks they do not trust.
    """
    state = state_of(view.records())
    status = view.status
    rows = _rows(view, state, status)
    picture, size, alt = _picture(view, state, status)
    return {
        "text/plain": _text(rows) + _check_text(state) + _listed_text(state),
        "text/html": wrapper(
            html_table(_unbroken(rows)),
            _check_html(state),
            _listed_html(state),
            _image(picture, size, alt),
            _again(view.name),
        ),
        "image/png": picture,
    }


def _rows(view: RunView, state: RunState, status: str) -> list[tuple[str, str]]:
    options = view.config_items()
    known = [
        ("run", view.name),
        ("status", f"{view.verb}, {status}"),
        ("reason", _reason(view, state, status)),
        ("model", options.get("model", "")),
        ("data", options.get("data", "")),
        ("steps", _steps(state)),
        ("train loss", loss(state.train.loss) if state.train else ""),
        ("valid loss", _valid(state)),
        ("test loss", _test(state)),
        ("model in", state.saved.path if state.saved else ""),
        ("size", _size(state)),
        ("gguf file", state.gguf.path if state.gguf else ""),
        *(("checked by", line) for line in (state.gguf.checks if state.gguf else "").splitlines()),
        *(("to use it", line) for line in (state.gguf.commands if state.gguf else "").splitlines()),
        ("uploaded", upload_line(state.uploaded) if state.uploaded else ""),
        ("adapter", state.ended.adapter_path if state.ended else ""),
        *(("warning", message) for message in state.warnings),
    ]
    return [(name, plain(value)) for name, value in known if value]


def _reason(view: RunView, state: RunState, status: str) -> str:
    if state.ended:
        return reason_of(state.ended)
    if status != "crashed":
        return ""
    if isinstance(view, RunFolder):
        return explain(view)
    return silent_end(f"{view.path}/worker.log")


def _steps(state: RunState) -> str:
    if not state.step:
        return ""
    return f"{state.step} of {state.planned}" if state.step < state.planned else f"{state.step}"


def _valid(state: RunState) -> str:
    if state.valid is None:
        return ""
    best = f" (best {loss(state.best.loss)} at step {state.best.step})" if state.best else ""
    return f"{loss(state.valid.loss)}{best}"


def _test(state: RunState) -> str:
    if state.test is None:
        return ""
    return f"{loss(state.test.loss)} (perplexity {loss(state.test.perplexity)})"


def _size(state: RunState) -> str:
    if state.saved is None:
        return ""
    kind = f", the rest {state.saved.dtype}" if state.saved.bits < _PLAIN_BITS else ""
    return f"{size(state.saved.size)}, {state.saved.bits:.2f} bits per weight{kind}"


def _text(rows: list[tuple[str, str]]) -> str:
    room = max(len(name) for name, _ in rows)
    return "\n".join(["<lora_nb run>", *(f"  {name:<{room}}  {value}" for name, value in rows)])


def _checked_on(state: RunState) -> str:
    found = state.fidelity
    return f"compared on {found.rows} {found.source}, {found.tokens} tokens" if found else ""


def _check_text(state: RunState) -> str:
    """How a fused model compares with what it was made of."""
    if state.fidelity is None:
        return ""
    table = text_table(COLUMNS, fidelity_rows(state.fidelity))
    lines = [f"{_checked_on(state)}:", *table.splitlines()]
    return "".join(f"\n  {line}" for line in lines)


def _check_html(state: RunState) -> str:
    if state.fidelity is None:
        return ""
    return html_table(fidelity_rows(state.fidelity), COLUMNS, _checked_on(state))


def _listed_text(state: RunState) -> str:
    """Which files an upload has, or would have."""
    if state.listed is None:
        return ""
    return "".join(f"\n  {line}" for line in listing_text(state.listed).splitlines())


def _listed_html(state: RunState) -> str:
    if state.listed is None:
        return ""
    return html_table(listing_rows(state.listed), LISTING, listing_title(state.listed))


def _unbroken(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows with names that long values beside them don't break into two lines."""
    return [(name.replace(" ", "\N{NO-BREAK SPACE}"), value) for name, value in rows]


def _picture(view: RunView, state: RunState, status: str) -> tuple[str, tuple[int, int], str]:
    line = line_of(state, status, run_path=str(view.path))
    if view.verb == "train" or state.has_curve:
        drawn = figure.draw(state, title=view.name, lines=[line])
    else:
        drawn = card.draw_card(state, title=view.name, lines=[line])
    width, height = (round(side * figure.DPI) for side in drawn.get_size_inches())
    return base64_text(png(drawn, figure.DPI * _FINE)), (width, height), figure.alt_of(state)


def _image(picture: str, size: tuple[int, int], alt: str) -> str:
    width, height = size
    return (
        f'<img src="data:image/png;base64,{picture}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto;">'
    )


def _again(name: str) -> str:
    return (
        '<div style="color:inherit;">See it again with '
        f'<code style="color:inherit;background:transparent;">%lora_attach {escape(name)}</code>'
        "</div>"
    )
