"""Variables on a magic line: `$df` and `{df.head(9)}` may hold rows, not only text.

IPython would put the printed form of a frame into the line before the magic sees it. So the magics
that take data fill in the line themselves, by IPython's own rules: values that are no texts are
kept aside and marked, and where a mark turns out to be the data, its rows are written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.utils.text import DollarFormatter

from lora_nb.commands.command import Command
from lora_nb.config.flags import flag_table, looks_like_flag
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["Variables", "takes_data"]

_MARK = re.compile("\ue000(\\d+)\ue001")
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)[\w.]*\}?")


def takes_data(command: Command) -> bool:
    """Whether a command has an option for data."""
    return any(flag.path == ("data",) for flag in command.flags)


class Variables(DollarFormatter):
    """Fills in lines from a namespace; `words` then says which word is data."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._kept: list[tuple[str, object]] = []
        self._field = ""

    def fill(self, line: str) -> str:
        """The line with texts in place of variables, and marks in place of other values.

        What cannot be evaluated stays as it is, as in IPython.
        """
        parts: list[str] = []
        try:
            fields = list(self.parse(line))
        except ValueError:
            return line
        for text, field, spec, conversion in fields:
            parts.append(text)
            if field is not None:
                self._field = f"{field}:{spec}" if spec else field
                parts.append(self._filled(line, conversion))
        return "".join(parts)

    def _filled(self, line: str, conversion: str | None) -> str:
        way = f"!{conversion}" if conversion else ""
        try:
            # One field at a time: one unknown name must not keep the others from being filled in.
            return str(super().vformat(f"{{{self._field}{way}}}", (), self._names))
        except Exception:  # noqa: BLE001 (whatever an expression of the user's raises)
            dollar = f"${self._field}"
            return dollar if dollar in line else f"{{{self._field}{way}}}"

    def format_field(self, value: Any, format_spec: str) -> str:
        """A text as it is, a mark for anything else."""
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        self._kept.append((self._field.strip(), value))
        return f"\ue000{len(self._kept) - 1}\ue001"

    def words(self, words: list[str], command: Command) -> list[str]:
        """The words with the folder of its rows in place of the data, and texts for other marks.

        Raises LoraError if the data is a variable that is not there, or holds no rows.
        """
        return [
            self._data(word) if is_data else _MARK.sub(self._text, word)
            for word, is_data in _split_up(words, command)
        ]

    def _text(self, found: re.Match[str]) -> str:
        return str(self._kept[int(found[1])][1])

    def _data(self, word: str) -> str:
        from lora_nb.dataset.given import keep_rows

        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if found := _MARK.fullmatch(value):
            name, rows = self._kept[int(found[1])]
            return f"{flag}{equals}{keep_rows(rows, name)}"
        if missing := _NAME.fullmatch(value):
            name = missing[1]
            if name not in self._names:
                near = did_you_mean(name, [key for key in self._names if not key.startswith("_")])
                raise LoraError(f"{value}: there is no variable {name}.{near}")
            raise LoraError(f"{value} cannot be evaluated.")
        return _MARK.sub(self._text, word)


def _split_up(words: list[str], command: Command) -> Iterator[tuple[str, bool]]:
    """Each word, and whether it names the data."""
    table = flag_table(command.flags)
    awaited = ""
    for word in words:
        if awaited:
            yield word, awaited == "data"
            awaited = ""
        elif looks_like_flag(word):
            name = word.partition("=")[0]
            flag = table.get(name, (None, False))[0]
            path = "" if flag is None else flag.path[0]
            yield word, path == "data" and "=" in word
            if flag is not None and not flag.is_switch and "=" not in word:
                awaited = path
        else:
            yield word, command.completes == "data"
