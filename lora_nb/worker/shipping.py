"""From a folder to the Hub, inside a run: what would go is told first, then checked, then sent."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from lora_nb.config import HubOptions
from lora_nb.errors import LoraError
from lora_nb.redact import redacted
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.export_events import Uploaded, UploadListed
from lora_nb.worker.session import Session, StoppedEarlyError

__all__ = ["check_destination", "ship"]

_LOOK_SECONDS = 0.25


def check_destination(session: Session, config: HubOptions) -> None:
    """Raise LoraError if what is to be made could not be uploaded later."""
    if config.upload_repo is None or config.dry_run:
        return
    from lora_nb.export.hub_reach import reach, taken

    to = reach(config.upload_repo, public=config.public, tick=session.checkpoint_if_stopped)
    # What will be made is new: no files that are there can be those that will go.
    if to.taken and not config.update_repo:
        raise taken(to)


def ship(
    session: Session,
    config: HubOptions,
    folder: Path,
    done: str = "",
    *,
    base: str | None = None,
    bits: float | None = None,
) -> Ended:
    """Upload a folder if the config wants it; `done` is what the run has done before, in words.

    `base` is the base model's name on the Hub. Raises LoraError, which says where the folder is.
    """
    if config.upload_repo is None:
        return Ended(status="completed", message=done)
    try:
        told = _shipped(session, config, config.upload_repo, folder, base, bits)
    except StoppedEarlyError:
        text = f"{done} Stopped before all was uploaded; the same upload goes on where it was."
        return Ended(status="stopped", message=text.strip())
    except LoraError as problem:
        raise LoraError(f"{problem}{_kept(config, folder, done, base)}") from problem
    return Ended(status="completed", message=f"{done} {told}".strip())


def _kept(config: HubOptions, folder: Path, done: str, base: str | None) -> str:
    if not done:
        return ""
    words = [
        f"%lora_upload {shlex.quote(str(folder))} --upload-repo {config.upload_repo}",
        *(["--public"] if config.public else []),
        *(["--update-repo"] if config.update_repo else []),
        *([f"--hf-path {base}"] if base else []),
    ]
    again = " ".join(words)
    return f"\nThe model is whole, in {folder}. `{again}` uploads it later."


def _shipped(
    session: Session,
    config: HubOptions,
    repo: str,
    folder: Path,
    base: str | None,
    bits: float | None,
) -> str:
    from lora_nb import __version__
    from lora_nb.export.hub import deliver
    from lora_nb.export.hub_card import dressed
    from lora_nb.export.hub_files import check_parcel, pack
    from lora_nb.export.hub_reach import known_token, reach

    parcel = dressed(pack(folder), repo, base, bits)
    listed = UploadListed(
        repo=repo,
        private=not config.public,
        files={file.name: file.size for file in parcel.files},
        left_out=[redacted(name) for name in parcel.left_out],
        dry_run=config.dry_run,
    )
    session.emit(listed)
    # Told before files are read: secrets in them end the run, and the list stays.
    check_parcel(parcel, known_token())
    for warning in dict.fromkeys(parcel.warnings):
        session.warn(warning)
    if config.dry_run:
        return "Nothing was sent (--dry-run)."
    to = reach(repo, public=config.public, tick=session.checkpoint_if_stopped)
    if to.there and to.private and config.public:
        session.warn(f"{to.repo} is private, and stays so; its page on the Hub has the switch.")
    sent = deliver(
        to,
        parcel,
        update=config.update_repo,
        message=f"Upload with lora_nb {__version__}",
        tell=_Tell(session),
        tick=session.checkpoint_if_stopped,
    )
    if not sent.changed:
        session.inform(f"{sent.repo} has these files already.")
    session.emit(
        Uploaded(
            repo=sent.repo,
            url=sent.url,
            private=sent.private,
            commit=sent.commit,
            files=len(parcel.files),
            size=parcel.size,
        )
    )
    seen = "private" if sent.private else "public"
    return f"{len(parcel.files)} files, {parcel.size / 1e6:,.1f} MB, are in {sent.url} ({seen})."


class _Tell:
    """Tells how many bytes are done, a few times a second, and gives up if a stop is wanted."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._session.checkpoint_if_stopped()
        if stage == self._stage and time.monotonic() < self._next and done != total:
            return
        self._stage = stage
        self._next = time.monotonic() + _LOOK_SECONDS
        self._session.emit(Progress(stage=stage, done=done, total=total))
