"""Upload to the Hugging Face Hub: look first, then make the repository, send, commit, compare.

All files come in one commit, so a repository is complete or as it was. What was sent before an
upload was cut off is on the Hub already and is not sent again; nothing about it is kept here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

from lora_nb.errors import LoraError
from lora_nb.export.hub_errors import BRIEF, asked
from lora_nb.export.hub_files import Parcel, is_loaded
from lora_nb.export.hub_reach import Destination, info_of, taken

__all__ = ["Sent", "Tell", "deliver"]

_Operation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete


class Tell(Protocol):
    """Told how many bytes of a stage are done; may raise to give up."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Sent:
    """A repository that holds the files now, compared with those here."""

    repo: str
    url: str
    private: bool
    commit: str
    changed: bool


def deliver(
    to: Destination,
    parcel: Parcel,
    *,
    update: bool,
    message: str,
    tell: Tell,
    tick: Callable[[], None] = lambda: None,
) -> Sent:
    """Send the files, in one commit, and compare what is there then with what is here.

    `tick` is called while it waits for a Hub that fails, and may raise to give up. Raises LoraError
    if the repository holds others (unless `update`), and for what goes wrong.
    """
    additions = _additions(parcel, tell)
    stale = _stale(to, parcel)
    if to.taken:
        if not stale and not _differing(to, additions):
            return _result(to, changed=False)
        if not update:
            raise taken(to)
    if not to.there:
        _create(to, tick)
    _send(to, parcel, additions, tell, tick)
    operations: list[_Operation] = [
        *additions,
        *(CommitOperationDelete(path_in_repo=name) for name in stale),
    ]
    asked(
        f"upload_repo: {to.repo}",
        lambda: to.api.create_commit(to.repo, operations, commit_message=message),
        waits=BRIEF,
        tick=tick,
    )
    if wrong := _differing(to, additions):
        raise LoraError(
            f"upload_repo: {to.repo} does not hold what was sent: {', '.join(wrong[:5])}. "
            "Upload again."
        )
    return _result(to, changed=True)


def _additions(parcel: Parcel, tell: Tell) -> list[CommitOperationAdd]:
    """The files as huggingface_hub wants them; its older versions read each one here."""
    made, done = [], 0
    for file in parcel.files:
        tell("reading", done, parcel.size)
        source = str(file.path) if file.text is None else file.text.encode()
        try:
            made.append(CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=source))
        except (OSError, ValueError) as problem:
            raise LoraError(f"{file.path} can't be read: {problem}.") from None
        done += file.size
    return made


def _stale(to: Destination, parcel: Parcel) -> list[str]:
    """Files of a model that are there and would not be replaced: loading might take them."""
    ours = {file.name for file in parcel.files}
    return [name for name in to.names if name not in ours and is_loaded(name)]


def _create(to: Destination, tick: Callable[[], None]) -> None:
    asked(
        f"upload_repo: {to.repo} can't be made",
        lambda: to.api.create_repo(to.repo, private=to.private, exist_ok=True),
        tick=tick,
    )
    made = asked(f"upload_repo: {to.repo}", lambda: info_of(to.api, to.repo), tick=tick)
    if to.private and (made is None or not made.private):
        raise LoraError(
            f"upload_repo: {to.repo} was made, but the Hub does not say that it is private. "
            "Nothing was sent."
        )


def _send(
    to: Destination,
    parcel: Parcel,
    additions: list[CommitOperationAdd],
    tell: Tell,
    tick: Callable[[], None],
) -> None:
    """Send large files, one at a time; the Hub takes small ones with the commit."""
    done = 0
    for file, addition in zip(parcel.files, additions, strict=True):
        tell("uploading", done, parcel.size)
        asked(
            f"upload_repo: {file.name} can't be sent to {to.repo}",
            partial(to.api.preupload_lfs_files, to.repo, [addition], free_memory=False),
            waits=BRIEF,
            tick=tick,
        )
        done += file.size
    tell("uploading", done, parcel.size)


def _differing(to: Destination, additions: list[CommitOperationAdd]) -> list[str]:
    """The names of those files that are not on the Hub as they are here."""
    names = [addition.path_in_repo for addition in additions]
    there = {
        entry.path: entry
        for entry in asked(f"upload_repo: {to.repo}", lambda: to.api.get_paths_info(to.repo, names))
    }
    return [
        addition.path_in_repo
        for addition in additions
        if not _same(addition, there.get(addition.path_in_repo))
    ]


def _same(addition: CommitOperationAdd, entry: Any) -> bool:
    if entry is None or getattr(entry, "size", None) != addition.upload_info.size:
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == addition.upload_info.sha256.hex())
    with addition.as_file() as file:
        content = file.read()
    # As git counts it.
    told = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return bool(entry.blob_id == told.hexdigest())


def _result(to: Destination, *, changed: bool) -> Sent:
    info = asked(f"upload_repo: {to.repo}", lambda: to.api.repo_info(to.repo, repo_type="model"))
    url = f"{to.api.endpoint}/{to.repo}"
    return Sent(to.repo, url, bool(info.private), str(info.sha), changed)
