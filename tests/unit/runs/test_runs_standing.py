"""What counts of the events of a run that was resumed."""

from __future__ import annotations

from lora_nb.runs.events import CheckpointSaved, Event, Record, Resumed, ValidLoss
from lora_nb.runs.standing import standing
from tests.unit.display.made import train, valid


def test_what_comes_again_is_void() -> None:
    saved = CheckpointSaved(step=20, path="checkpoints/0000020", best=False)
    again = Resumed(step=20, reported=15)
    told: list[Event] = [
        *(valid(0, 3.0), train(10, 2.0), train(15, 1.9), saved, train(20, 1.8), valid(20, 2.0)),
        *(train(30, 1.5), valid(30, 1.0), CheckpointSaved(step=30, path="c", best=True)),
    ]
    records = [Record(seq, 0.0, event) for seq, event in enumerate([*told, again], 1)]
    assert [record.event for record in standing(records)] == [
        *(valid(0, 3.0), train(10, 2.0), train(15, 1.9), saved, valid(20, 2.0)),
        again,
    ]
    later = [*records, Record(99, 0.0, valid(30, 1.2))]
    losses = [r.event.loss for r in standing(later) if isinstance(r.event, ValidLoss)]
    assert losses == [3.0, 2.0, 1.2]
