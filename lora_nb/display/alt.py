"""What a picture of losses shows, in words for those who do not see it."""

from __future__ import annotations

from collections.abc import Iterable

from lora_nb.display.curve import Points, points
from lora_nb.display.state import RunState, state_of
from lora_nb.display.words import loss
from lora_nb.runs.events import Record

__all__ = ["alt_of", "alt_text"]


def alt_text(records: Iterable[Record]) -> str:
    """One sentence that tells what the picture of these records shows."""
    return alt_of(state_of(records))


def alt_of(state: RunState) -> str:
    """The same from a state that is already there."""
    if not state.has_curve:
        tested = f": test loss {loss(state.test.loss)}" if state.test else ""
        if state.saved:
            tested = f": a model of {state.saved.bits:.2f} bits per weight was written"
        return f"A run without a loss curve{tested}."
    parts = _told("training loss", points(state.train_losses))
    parts += _told("validation loss", points(state.valid_losses))
    if state.best:
        parts.append(f"best validation loss {loss(state.best.loss)} at step {state.best.step}")
    if state.checkpoints:
        many = len(state.checkpoints)
        parts.append(f"{many} checkpoint{'' if many == 1 else 's'}")
    return "Loss over steps: " + "; ".join(parts) + "."


def _told(what: str, curve: Points) -> list[str]:
    if not curve:
        return []
    (first, from_loss), (last, to_loss) = curve[0], curve[-1]
    if first == last:
        return [f"{what} {loss(to_loss)} at step {last}"]
    return [f"{what} from {loss(from_loss)} at step {first} to {loss(to_loss)} at step {last}"]
