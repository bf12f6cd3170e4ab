"""`note`: write down what a run was about, and give it tags."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, Flag
from lora_nb.display.words import plain
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]

TAG = Flag(
    ("tag",),
    ("--tag",),
    "Give the run these tags: words of letters, digits, '.', '-' and '_'.",
    group=OWN,
    metavar="TAG,TAG",
    is_list=True,
    is_option=False,
)
UNTAG = Flag(
    ("untag",),
    ("--untag",),
    "Take these tags away.",
    group=OWN,
    metavar="TAG,TAG",
    is_list=True,
    is_option=False,
)


def run(call: Call) -> None:
    """Note what stands behind the run's name; with nothing to note, show what is there."""
    if not call.parsed.rest:
        raise LoraError('Name the run: %lora_note RUN "what was tried".')
    name, *words = call.parsed.rest
    found = api.attach(name)
    notes = found.note(
        " ".join(words),
        tag=call.parsed.extra.get("tag", ()),
        untag=call.parsed.extra.get("untag", ()),
    )
    print(f"{found.name}: {', '.join(notes.tags) or 'no tags'}")
    for note in notes.notes:
        print(f"  {plain(' '.join(note.text.split()))}")


COMMAND = Command(
    "note",
    "Write a note on a run and give it tags; %lora_runs shows them.",
    run,
    extra=(TAG, UNTAG),
    positional="RUN [TEXT]",
    completes="run",
    about=(
        "A note is added to those before; without a text and tags, what is there is shown. Notes "
        "are kept in the run's folder."
    ),
)
