"""Asking a running training for something, and waiting a moment for what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from lora_nb import api
from lora_nb.errors import LoraError
from lora_nb.runs.control import NO_SAMPLE, RequestName
from lora_nb.runs.events import ControlAnswered, Event, Notice, Sample

__all__ = ["answered", "sampled"]

_ANSWER_SECONDS = 10.0
_SAMPLE_SECONDS = 300.0
_LOOK_SECONDS = 0.05


def answered(run: api.Run, name: RequestName, ask: Callable[[], None]) -> str:
    """Ask, and give the answer back in a line. Raises LoraError if the run refuses.

    A worker answers between two steps; one that takes longer has the request and will.
    """

    def is_answer(event: Event) -> bool:
        return isinstance(event, ControlAnswered) and event.request == name

    event = _next(run, ask, _ANSWER_SECONDS, is_answer)
    what = name.replace("_", " ")
    if not isinstance(event, ControlAnswered):
        if not run.folder.is_alive:
            raise LoraError(f"{run.name}: {what}: no answer, the run is {run.status}.")
        return f"{run.name}: {what}: asked for; the answer comes after the step."
    if event.answer.startswith("refused"):
        raise LoraError(f"{run.name}: {what} {event.answer}.")
    return f"{run.name}: {what}: {event.answer} (step {event.step})."


def sampled(run: api.Run, prompt: str, max_tokens: int) -> str:
    """Ask a training for a sample, and wait for its text. Raises LoraError if there is none."""

    def is_end(event: Event) -> bool:
        refused = isinstance(event, ControlAnswered) and event.answer.startswith("refused: ")
        failed = isinstance(event, Notice) and event.message.startswith(NO_SAMPLE)
        return refused or failed or isinstance(event, Sample)

    event = _next(run, partial(run.sample, prompt, max_tokens), _SAMPLE_SECONDS, is_end)
    match event:
        case Sample(text=text):
            return text
        case ControlAnswered(answer=answer):
            raise LoraError(f"{run.name}: sample {answer}.")
        case Notice(message=message):
            raise LoraError(f"{run.name}: {message}")
    raise LoraError(f"{run.name} has given no sample (status: {run.status}).")


def _next(
    run: api.Run, ask: Callable[[], None], seconds: float, wanted: Callable[[Event], bool]
) -> Event | None:
    """Ask, and wait for the first wanted event after that; None if none comes."""
    seen = len(run.records)
    ask()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = run.folder.is_alive
        for record in run.records[seen:]:
            if wanted(record.event):
                return record.event
        if not alive:
            return None
        time.sleep(_LOOK_SECONDS)
    return None
