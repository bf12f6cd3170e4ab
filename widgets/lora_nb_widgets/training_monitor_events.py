"""A run's events in words: what a person wants to know of them, the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from lora_nb.display.state import RunState
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.words import gigabytes, loss, plain, rate
from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    DataReady,
    Ended,
    Event,
    ModelReady,
    Notice,
    Record,
    Resumed,
    Resuming,
    Sample,
    Started,
    TestLoss,
)
from lora_nb.runs.export_events import Fidelity, GgufSaved, ModelSaved

__all__ = ["MOST", "events_html", "numbers_html", "words_of"]

MOST = 200
"""Events that are kept for showing, the newest ones."""
_LONGEST = 4000
_REQUESTS = {"evaluate": "evaluate now", "learning_rate": "learning rate", "sample": "sample now"}


def words_of(event: Event) -> tuple[str, str] | None:
    """Kind and text of an event worth telling, else None: losses stand in the curve."""
    match event:
        case Notice(level=level, message=message):
            return ("warning" if level == "warning" else "note", message)
        case CheckpointSaved(step=step, path=path, best=best):
            return ("checkpoint", f"step {step} in {path}{' (best so far)' if best else ''}")
        case ControlAnswered(request=request, answer=answer, step=step):
            at = f" (step {step})" if step else ""
            return (_REQUESTS.get(request, request), f"{answer}{at}")
        case Sample(step=step, prompt=prompt, text=text):
            return ("sample", f"step {step}, {prompt}\n→ {text}")
        case TestLoss(loss=value, perplexity=perplexity):
            return ("test", f"loss {loss(value)}, perplexity {loss(perplexity)}")
        case Ended(status=status, message=message):
            return (status, message)
        case _:
            return _stage(event)


def _stage(event: Event) -> tuple[str, str] | None:
    match event:
        case Started(pid=pid, backend=backend):
            return ("started", f"process {pid} on {backend}")
        case ModelReady(model=model, parameters=parameters, trainable=trainable):
            trained = f", {rate(trainable)} of them trained" if trainable else ""
            return ("model", f"{model}: {rate(parameters)} parameters{trained}")
        case DataReady(rows=rows):
            return ("data", ", ".join(f"{count} {split}" for split, count in rows.items()))
        case Resuming(changes=changes):
            return ("resuming", changes or "from the last checkpoint, with the same options")
        case Resumed(step=step):
            return ("resumed", f"behind step {step}")
        case ModelSaved(path=path):
            return ("model saved", path)
        case GgufSaved(path=path):
            return ("gguf saved", path)
        case Fidelity(rows=rows, source=source, fused_loss=value):
            return ("checked", f"on {rows} {source}: loss {loss(value)} once fused")
        case _:
            return None


def events_html(records: Sequence[Record]) -> str:
    """The events worth telling as an escaped table, the newest first."""
    told = [(record.time, words) for record in records if (words := words_of(record.event))]
    if not told:
        return '<div class="lora-nb-quiet">Nothing to tell yet.</div>'
    rows = "".join(_row(time, *words) for time, words in reversed(told))
    style = "border-collapse:collapse;background:transparent;color:inherit;width:100%;"
    return wrapper(f'<table style="{style}"><tbody>{rows}</tbody></table>')


_CELL = "padding:1px 10px 1px 0;text-align:left;vertical-align:top;background:transparent;"
_TEXT = f"{_CELL}white-space:pre-wrap;overflow-wrap:anywhere;width:100%;"
_LOUD = ("warning", "failed", "aborted")


def _row(time: float, kind: str, text: str) -> str:
    clock = datetime.fromtimestamp(time, UTC).astimezone().strftime("%H:%M:%S")
    heavy = "font-weight:600;" if kind in _LOUD else ""
    shown = plain(text[:_LONGEST], lines=True)
    return (
        f'<tr style="background:transparent;"><td style="{_CELL}white-space:nowrap;">{clock}</td>'
        f'<td style="{_CELL}white-space:nowrap;{heavy}">{escape(plain(kind))}</td>'
        f'<td style="{_TEXT}{heavy}">{escape(shown)}</td></tr>'
    )


def numbers_html(state: RunState) -> str:
    """Speed, memory, learning rate and gradient of the last report, each under its name."""
    now = state.train
    if now is None:
        return ""
    cells = [
        ("tokens/s", rate(now.tokens_per_second)),
        ("steps/s", rate(now.iterations_per_second)),
        ("peak memory", gigabytes(now.peak_memory) if now.peak_memory > 0 else "unknown"),
        ("learning rate", f"{now.learning_rate:.3g}"),
        ("gradient norm", f"{now.grad_norm:.3g}"),
        ("trained tokens", rate(now.trained_tokens)),
    ]
    return wrapper(
        '<div style="display:flex;flex-wrap:wrap;gap:2px 22px;">', *_cells(cells), "</div>"
    )


def _cells(cells: Iterable[tuple[str, str]]) -> list[str]:
    return [
        f'<div><span class="lora-nb-quiet">{escape(name)}</span> <b>{escape(value)}</b></div>'
        for name, value in cells
    ]
