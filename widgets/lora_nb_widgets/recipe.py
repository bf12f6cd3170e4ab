"""What a panel does, as words: the magic's line, the same as YAML, and the console's command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lora_nb.config import Flag, as_yaml, flags_of
from lora_nb.config.flags import looks_like_flag
from lora_nb_widgets.theme import Fold, Widget, column, row

__all__ = ["Recipe", "RecipeView", "recipe_of"]

YAML_NAME = "options.yaml"
"""The file that a console command with `-c` means: the recipe's YAML."""

# What means the same on a magic's line and in a shell. IPython fills in {names} and $names and
# takes a question mark for a wish for help.
_PLAIN = re.compile(r"[\w@%+=:,./~ \-]+", re.ASCII)
_WIDTH = 60


@dataclass(frozen=True)
class Recipe:
    """The same in three ways; `console` means the file `options.yaml` where it names that."""

    magic: str
    yaml: str
    console: str


def recipe_of(
    verb: str,
    kind: type[Any] | None,
    values: Mapping[str, Any],
    words: tuple[str, ...] = (),
    *,
    prompt: str = "",
) -> Recipe:
    """The recipe of a verb (`train`) with these values of options, nested as in YAML.

    `words` are those of a line that are no options, such as a run's name. A `prompt` is the cell
    below the magic. Without one, the cell holds the options that no flag can say on both kinds of
    lines.
    """
    known = {flag.path: flag for flag in flags_of(kind)} if kind is not None else {}
    parts: list[str] = []
    body: dict[str, Any] = {}
    for path, value in _leaves(values, known):
        flag = known.get(path)
        if flag is None or not _is_plain(flag, value):
            _put(body, path, value)
        else:
            parts += _flag(flag, value)
    if body and prompt:
        parts = []
    file = ["-c", YAML_NAME] if body else []
    magic = shlex.join([*(file if prompt else []), *parts, *words])
    console = shlex.join([*(file or parts), *words, *(["--", prompt] if prompt else [])])
    cell = prompt or (as_yaml(body).rstrip() if body else "")
    return Recipe(
        f"{'%%' if cell else '%'}lora_{verb} {magic}".strip() + (f"\n{cell}" if cell else ""),
        as_yaml(dict(values)) if values else "",
        f"lora-nb {verb} {console}".strip(),
    )


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


def _is_plain(flag: Flag, value: Any) -> bool:
    if flag.is_switch:
        return isinstance(value, bool)
    if flag.is_list:
        return all(_PLAIN.fullmatch(str(each)) and "," not in str(each) for each in value)
    return _PLAIN.fullmatch(str(value)) is not None


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
