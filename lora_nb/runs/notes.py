"""What somebody has noted about a run, and its tags: `notes.json` in its folder."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from lora_nb.errors import LoraError
from lora_nb.redact import redacted
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.lock import alone_in
from lora_nb.runs.whole_file import write_whole

__all__ = ["Note", "Notes", "annotate", "read_notes"]

_TAG = re.compile(r"[\w.-]{1,32}")
_LONGEST = 10_000


@dataclass(frozen=True)
class Note:
    """A text and when it was written, in seconds since 1970."""

    time: float
    text: str


@dataclass(frozen=True)
class Notes:
    """The notes of a run, oldest first, and its tags in order."""

    notes: tuple[Note, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def latest(self) -> str:
        """The text of the newest note, or nothing."""
        return self.notes[-1].text if self.notes else ""


def read_notes(run: RunFolder) -> Notes:
    """The notes of a run; none if there are none. Raises LoraError if the file is damaged."""
    try:
        values = json.loads(run.notes_path.read_text(encoding="utf-8"))
        notes = tuple(Note(float(each["time"]), str(each["text"])) for each in values["notes"])
        return Notes(notes, tuple(str(tag) for tag in values["tags"]))
    except FileNotFoundError:
        return Notes()
    except (OSError, ValueError, KeyError, TypeError):
        raise LoraError(
            f"{run.notes_path} can't be read as notes. Mend it, or move it away."
        ) from None


def annotate(
    run: RunFolder,
    text: str = "",
    *,
    tag: str | Iterable[str] = (),
    untag: str | Iterable[str] = (),
) -> Notes:
    """Add a note and tags to a run, or take tags away; returns what is there then.

    Raises LoraError for a tag that is no plain word, or one to take away that the run has not.
    """
    text = redacted(text.strip()).encode("utf-8", "replace").decode()
    added, removed = _listing(tag), _listing(untag)
    _check(text, added, removed)
    with alone_in(run.path):
        old = read_notes(run)
        for each in removed:
            if each not in old.tags:
                raise LoraError(f"{run.name} has no tag '{each}' ({_listed(old.tags)}).")
        notes = (*old.notes, Note(round(time.time(), 3), text)) if text else old.notes
        tags = tuple(sorted({*old.tags, *added} - {*removed}))
        new = Notes(notes, tags)
        if new != old:
            _write(run, new)
    return new


def _listing(tags: str | Iterable[str]) -> list[str]:
    """Tags as a list; several in one text have commas between them, as on a line."""
    parts = tags.split(",") if isinstance(tags, str) else tags
    return [str(part).strip() for part in parts]


def _check(text: str, added: list[str], removed: list[str]) -> None:
    if len(text) > _LONGEST:
        raise LoraError(f"The note is longer than {_LONGEST} characters.")
    for each in added:
        if not _TAG.fullmatch(each):
            raise LoraError(
                f"--tag: '{each}' is not a plain word: letters, digits, '.', '-' and '_', 32 "
                "characters at most."
            )
    if both := sorted({*added} & {*removed}):
        raise LoraError(f"'{both[0]}' stands behind both --tag and --untag.")


def _listed(tags: Iterable[str]) -> str:
    return "its tags: " + ", ".join(tags) if tags else "it has none"


def _write(run: RunFolder, notes: Notes) -> None:
    text = json.dumps(asdict(notes), indent=1, ensure_ascii=False) + "\n"
    try:
        write_whole(run.notes_path, text)
    except OSError as problem:
        raise LoraError(f"{run.notes_path} can't be written: {problem.strerror}.") from None
