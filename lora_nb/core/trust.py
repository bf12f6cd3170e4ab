"""Code that comes with a model: which files would run, and whether the user has agreed to them.

It runs only with --trust-remote-code and with --trust-sha256 naming each file and its content.
The model can give neither. Even then, no path leads out of the model folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_nb.config import ModelOptions
from lora_nb.core.model_files import read_json
from lora_nb.errors import LoraError

__all__ = ["Code", "agreed", "code_of", "refusal"]

# The classes that lora_nb asks transformers for. Others that an auto_map names are never loaded.
_ASKED_FOR = ("AutoConfig", "AutoTokenizer")


@dataclass(frozen=True)
class Code:
    """A file of code in a model folder: its name there, and the sha256 of its content."""

    name: str
    sha256: str

    @property
    def consent(self) -> str:
        """What --trust-sha256 must hold for it."""
        return f"{self.name}:{self.sha256}"


def agreed(folder: Path, options: ModelOptions) -> bool:
    """Whether code of this folder may run; False if there is none to run, or it isn't allowed.

    Raises LoraError if it is allowed in general, but not every file is agreed to.
    """
    if not options.trust_remote_code:
        return False
    code = code_of(folder)
    given = {text.strip().lower() for text in options.trust_sha256 or ()}
    missing = [file for file in code if file.consent.lower() not in given]
    if missing:
        raise LoraError(
            f"{_listing(folder, missing)}\n--trust-remote-code is given, but no consent to "
            f"{'these files' if len(missing) > 1 else 'this file'}. Read them, then {_how(code)}"
        )
    return bool(code)


def refusal(folder: Path) -> LoraError | None:
    """Why a model that needs code of its own is not loaded; None if it has none."""
    code = code_of(folder)
    if not code:
        return None
    return LoraError(
        f"{_listing(folder, code)}\nIt is not run. If you have read it and trust it, add "
        f"--trust-remote-code and {_how(code)}"
    )


def code_of(folder: Path) -> list[Code]:
    """The files of code that loading the model or its tokenizer would run, or may import.

    Where one would run, that is each .py file of the folder, as one may import the others.
    Raises LoraError if code is named that isn't a plain .py file inside the folder.
    """
    named = set(_named(folder))
    if not named:
        return []
    home = folder.resolve()
    files = sorted(path for path in folder.rglob("*.py") if path.is_file())
    for path in files:
        if path.parent != folder and not path.resolve().is_relative_to(home):
            raise LoraError(f"model: {path} is a link that leads out of the model folder.")
    names = {path.relative_to(folder).as_posix() for path in files}
    for name in sorted(named - names):
        raise LoraError(
            f"model: {folder} wants to run '{name}', which is no .py file inside the model "
            "folder. It is not run."
        )
    return [Code(path.relative_to(folder).as_posix(), _sha256(path)) for path in files]


def _named(folder: Path) -> Iterator[str]:
    """The files that the configs of a folder name as code, as they are written there."""
    config = read_json(folder / "config.json")
    if (file := config.get("model_file")) is not None:
        yield str(file)
    yield from _of_auto_map(folder, config.get("auto_map"))
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        yield from _of_auto_map(folder, read_json(settings).get("auto_map"))


def _of_auto_map(folder: Path, auto_map: Any) -> Iterator[str]:
    """`module.Class` references, of which the module is a file."""
    if not isinstance(auto_map, Mapping):
        auto_map = {"AutoTokenizer": auto_map}
    for kind in _ASKED_FOR:
        for reference in _texts(auto_map.get(kind)):
            if "--" in reference:
                raise LoraError(
                    f"model: {folder} wants to run '{reference}', which is code of another "
                    "repository. It is not run, as it can change at any time."
                )
            yield reference.rpartition(".")[0].replace(".", "/") + ".py"


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _listing(folder: Path, code: Iterable[Code]) -> str:
    files = "\n".join(f"  {file.name}  sha256 {file.sha256}" for file in code)
    return f"model: {folder} brings code of its own, which would run on this machine:\n{files}"


def _how(code: list[Code]) -> str:
    flags = ",".join(file.consent for file in code)
    in_yaml = json.dumps([file.consent for file in code])
    return (
        f"give\n  --trust-sha256 {flags}\nIn YAML: trust_sha256: {in_yaml}"
        "\nThe consent holds for exactly this content."
    )
