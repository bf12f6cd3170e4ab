"""TAB completion of flags, choices, paths, models and runs on magic lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from lora_nb.commands.command import Command
from lora_nb.commands.table import COMMANDS
from lora_nb.config import Flag
from lora_nb.config.declaring import Completes
from lora_nb.config.flags import flag_table
from lora_nb.runs import store

__all__ = ["complete", "install", "remove"]

_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%{1,2}lora_(?P<verb>\w+)\s+(?P<words>.*)$")
_KNOWN_DATA = ("demo", "mlx-community/WikiSQL")
_SHOWN_RUNS = 50


@context_matcher(identifier="lora_nb.magics", priority=100)  # type: ignore[untyped-decorator]
def match_magic_line(context: CompletionContext) -> dict[str, Any]:
    """IPython's matcher: completions for the word before the cursor, if the line is ours."""
    before = context.line_with_cursor[: context.cursor_position]
    found = _LINE.match(before)
    command = COMMANDS.get(found["verb"]) if found else None
    if found is None or command is None:
        return {"completions": []}
    word = re.split(r"\s", found["words"])[-1]
    return {
        "completions": [
            SimpleCompletion(text, type=kind) for text, kind in complete(command, found["words"])
        ],
        "matched_fragment": word,
        "suppress": True,
    }


def install(shell: InteractiveShell) -> None:
    """Let the shell's completer ask us, once."""
    matchers = _matchers(shell)
    if matchers is not None and match_magic_line not in matchers:
        matchers.append(match_magic_line)


def remove(shell: InteractiveShell) -> None:
    """Ask us no more."""
    matchers = _matchers(shell)
    if matchers is not None and match_magic_line in matchers:
        matchers.remove(match_magic_line)


def _matchers(shell: InteractiveShell) -> list[Any] | None:
    found: list[Any] | None = getattr(shell.Completer, "custom_matchers", None)
    return found


def complete(command: Command, words: str) -> Iterable[tuple[str, str]]:
    """What may follow `words` (the text behind the magic's name), as text and kind."""
    parts = re.split(r"\s+", words)
    word, previous = parts[-1], parts[-2] if len(parts) > 1 else ""
    table = flag_table(command.flags)
    if previous in table and not table[previous][0].is_switch:
        return _values(table[previous][0], word)
    if "=" in word and (name := word.partition("=")[0]) in table:
        flag, start = table[name][0], word.partition("=")[2]
        return [(f"{name}={value}", kind) for value, kind in _values(flag, start)]
    if word.startswith("-"):
        used = set(parts[:-1])
        return [(name, "flag") for name in table if name.startswith(word) and name not in used]
    return _named(command.completes, word)


def _values(flag: Flag, start: str) -> list[tuple[str, str]]:
    if flag.choices:
        return [(choice, "choice") for choice in flag.choices if choice.startswith(start)]
    return _named(flag.completes, start)


def _named(what: Completes, start: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if what in ("run", "adapter"):
        found += [(name, "run") for name in _runs(start)]
    if what in ("model", "data"):
        names = list(_KNOWN_DATA if what == "data" else ["demo", *_models_in_cache()])
        found += [(name, what) for name in names if name.startswith(start)]
    if what in ("path", "model", "data", "adapter"):
        found += _paths(start)
    return found


def _runs(part: str) -> list[str]:
    """The names of the newest runs with this part; people remember what stands behind the date."""
    fitting = [run.name for run in store.all_runs() if part in run.name]
    return [name for name in ("latest", *fitting[:_SHOWN_RUNS]) if part in name]


def _paths(start: str) -> list[tuple[str, str]]:
    head, slash, tail = start.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        (f"{head}{slash}{entry.name}{'/' if entry.is_dir() else ''}", "path")
        for entry in entries
        if entry.name.startswith(tail) and (tail.startswith(".") or not entry.name.startswith("."))
    ]


def _models_in_cache() -> list[str]:
    """The models of the Hugging Face cache, by the names of its folders."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = Path(HF_HUB_CACHE).glob("models--*--*")
    return sorted(path.name.removeprefix("models--").replace("--", "/") for path in folders)
