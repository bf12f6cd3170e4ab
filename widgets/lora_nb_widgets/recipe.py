"""What a panel does, as words: the magic's line, the same as YAML, and the console's command.

Each works as it stands, wherever it is put.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lora_nb.config import Flag, as_yaml, flags_of
from lora_nb.config.flags import looks_like_flag
from lora_nb_widgets.theme import Fold, Widget, column, row

__all__ = ["Recipe", "RecipeView", "console_line", "recipe_of"]

# What means the same on a magic's line and in a shell. IPython fills in {names} and $names and
# takes a question mark for a wish for help.
_PLAIN = re.compile(r"[\w@%+=:,./~ \-]+", re.ASCII)
_WIDTH = 60


@dataclass(frozen=True)
class Recipe:
    """The same in three ways."""

    magic: str
    yaml: str
    console: str


def recipe_of(
    verb: str,
    kind: type[Any] | None,
    values: Mapping[str, Any],
    words: tuple[str, ...] = (),
) -> Recipe:
    """The recipe of a verb (`train`) with these values of options, nested as in YAML.

    `words` are those of a line that are no options, such as a run's name. What flags can't say is
    YAML: the cell below the magic, or what the console reads.
    """
    known = {flag.path: flag for flag in flags_of(kind)} if kind is not None else {}
    parts, body = _sorted(values, known, _is_plain)
    magic = shlex.join([*parts, *words])
    cell = f"\n{as_yaml(body).rstrip()}" if body else ""
    return Recipe(
        f"{'%%' if cell else '%'}lora_{verb} {magic}".strip() + cell,
        as_yaml(dict(values)) if values else "",
        console_line(verb, *_sorted(values, known, _is_sayable), words),
    )


def console_line(
    verb: str, flags: Sequence[str], body: Mapping[str, Any], words: Sequence[str] = ()
) -> str:
    """A command for a terminal: flags, other words, and options that it reads as YAML."""
    file = ["-c", "/dev/stdin"] if body else []
    line = shlex.join(["lora-nb", verb, *file, *flags, *words])
    # No line of a mapping in YAML can be the word at its end.
    return f"{line} <<'YAML'\n{as_yaml(dict(body))}YAML" if body else line


def _sorted(
    values: Mapping[str, Any],
    known: Mapping[tuple[str, ...], Flag],
    can_be_flag: Callable[[Flag, Any], bool],
) -> tuple[list[str], dict[str, Any]]:
    """The values as flags, and those that can't be, nested as in YAML."""
    parts: list[str] = []
    body: dict[str, Any] = {}
    for path, value in _leaves(values, known):
        flag = known.get(path)
        if flag is None or not can_be_flag(flag, value):
            _put(body, path, value)
        else:
            parts += _flag(flag, value)
    return parts, body


def _leaves(
    values: Mapping[str, Any], known: Mapping[tuple[str, ...], Flag]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values by the path of their flag: nested where flags are."""
    for key, value in values.items():
        inner = isinstance(value, Mapping) and all((key, name) in known for name in value)
        if inner:
            yield from (((key, name), each) for name, each in value.items())
        else:
            yield (key,), value


def _put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        body = body.setdefault(part, {})
    body[path[-1]] = value


def _is_sayable(flag: Flag, value: Any) -> bool:
    """Whether a flag can say a value in a shell, which takes any text in quotes."""
    if flag.is_switch:
        return isinstance(value, bool)
    if flag.is_list:
        texts = [str(each) for each in value]
        return all(text and text == text.strip() and "," not in text for text in texts)
    return str(value) != ""


def _is_plain(flag: Flag, value: Any) -> bool:
    """Whether a flag can say it on a magic's line too."""
    texts = value if flag.is_list else (value,)
    is_plain = all(_PLAIN.fullmatch(str(each)) for each in texts)
    return is_plain and _is_sayable(flag, value)


def _flag(flag: Flag, value: Any) -> list[str]:
    if flag.is_switch:
        return [flag.names[0] if value else flag.negations[0]]
    text = ",".join(map(str, value)) if flag.is_list else str(value)
    # A value that begins like a flag must hang on to its own.
    return [f"{flag.names[0]}={text}"] if looks_like_flag(text) else [flag.names[0], text]


class RecipeView:
    """A fold with the three texts in fields to copy from."""

    def __init__(self, title: str = "The same as code") -> None:
        self._recipe: Recipe | None = None
        names = ("In a cell", "As YAML", "In a terminal")
        self._fields: tuple[Widget, ...] = tuple(_field(name) for name in names)
        self._fold = Fold(
            title,
            lambda: row(*(column(field) for field in self._fields)),
            hint="The magic, YAML and console command that do what this panel does",
        )
        self.widget = self._fold.widget
        self.show(None)

    @property
    def recipe(self) -> Recipe | None:
        """What is shown."""
        return self._recipe

    def show(self, recipe: Recipe | None) -> None:
        """Show a recipe, or none."""
        self._recipe = recipe
        self.widget.layout.display = "" if recipe else "none"
        texts = (recipe.magic, recipe.yaml, recipe.console) if recipe else ("", "", "")
        for field, text in zip(self._fields, texts, strict=True):
            field.value = text
            field.rows = _rows(text)


def _field(name: str) -> Widget:
    return ipywidgets.Textarea(
        description=name,
        tooltip=f"{name}: click into it, select all, copy",
        style={"description_width": "6.5em"},
        layout=ipywidgets.Layout(width="98%"),
    )


def _rows(text: str) -> int:
    lines = text.split("\n") if text else [""]
    return min(14, max(1, sum(1 + len(line) // _WIDTH for line in lines)))
