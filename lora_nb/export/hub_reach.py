"""Whether a repository of the Hugging Face Hub can be written to, and what is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.utils.tqdm import disable_progress_bars

from lora_nb.errors import LoraError
from lora_nb.export.hub_errors import asked, status_of

__all__ = ["Destination", "info_of", "known_token", "reach", "taken"]

_LOG_IN = (
    "upload_repo: there is no token for the Hugging Face Hub. Log in with `hf auth login`, or set "
    "HF_TOKEN to a token that may write."
)
_OFFLINE = "upload_repo: HF_HUB_OFFLINE is set, so nothing can be uploaded. Take it out."
# Files that the Hub adds by itself.
_OF_HUB = (".gitattributes",)


@dataclass(frozen=True)
class Destination:
    """A repository by its full name, and what is there."""

    api: HfApi
    repo: str
    private: bool
    there: bool
    names: tuple[str, ...] = ()

    @property
    def taken(self) -> bool:
        """Whether somebody has put files there."""
        return any(name not in _OF_HUB for name in self.names)


def known_token() -> tuple[str, ...]:
    """The token that the user has given to huggingface_hub, if there is one."""
    found = get_token()
    return (found,) if found else ()


def _token() -> str:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise LoraError(_OFFLINE)
    found = get_token()
    if not found:
        raise LoraError(_LOG_IN)
    return found


def reach(repo: str, *, public: bool, tick: Callable[[], None] = lambda: None) -> Destination:
    """Look whether a repository can be written to; nothing is changed.

    Raises LoraError without a token that may write, and if what is there already is public though
    it should be private.
    """
    disable_progress_bars()
    api = HfApi(token=_token(), library_name="lora_nb")
    me: dict[str, Any] = asked("upload_repo", api.whoami, tick=tick)
    owner, _, bare = repo.rpartition("/")
    whole = f"{owner or me['name']}/{bare}"
    _check_rights(me, whole)
    info = asked(f"upload_repo: {whole}", lambda: info_of(api, whole), tick=tick)
    if info is None:
        return Destination(api, whole, private=not public, there=False)
    if not info.private and not public:
        raise LoraError(
            f"upload_repo: {whole} is there already and everybody can see it. Name another "
            "repository, or add --public if that is meant."
        )
    names = tuple(each.rfilename for each in info.siblings or ())
    return Destination(api, whole, private=bool(info.private), there=True, names=names)


def taken(to: Destination) -> LoraError:
    """The error for a repository that has other files."""
    return LoraError(
        f"upload_repo: {to.repo} is there already, with other files. Name another repository, or "
        "add --update-repo (what was there stays in its history)."
    )


def info_of(api: HfApi, repo: str) -> Any:
    """What the Hub tells of a repository, or None if there is none that the token may see."""
    try:
        return api.repo_info(repo, repo_type="model")
    except Exception as problem:
        if status_of(problem) in (401, 404):
            return None
        raise


def _check_rights(me: dict[str, Any], repo: str) -> None:
    role = ((me.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise LoraError(
            f"upload_repo: the token of {me['name']} may only read. Log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may write."
        )
    owner = repo.partition("/")[0]
    owners = [me["name"], *(each.get("name") for each in me.get("orgs") or ())]
    # Of tokens with finer rights it isn't told where they hold.
    if role == "write" and owner.lower() not in [str(each).lower() for each in owners]:
        raise LoraError(
            f"upload_repo: {owner} is neither you ({me['name']}) nor an organisation that you "
            f"belong to. Name {me['name']}/{repo.partition('/')[2]}, or use another token."
        )
