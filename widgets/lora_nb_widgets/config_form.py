"""A form for the options of any verb, made from their declarations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from typing import Any

import ipywidgets

from lora_nb.config import TrainConfig, as_yaml
from lora_nb.display.tables import escape, html_table
from lora_nb.errors import listed
from lora_nb_widgets import theme
from lora_nb_widgets.config_form_fields import Field, Path, fields_of, holds, value_at
from lora_nb_widgets.config_form_file import read_options
from lora_nb_widgets.config_form_presets import PRESETS, Preset
from lora_nb_widgets.config_form_state import Checked, check, defaults_of, plain, refuse_unknown
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.recipe import Recipe, recipe_of

__all__ = ["ConfigForm"]

_OPEN = {"Model", "Data", "Adapter", "Training", "Prompt", "Output", "Quantisation", "Check"}
_FILE = "lora.yaml"


class ConfigForm(Panel):
    """The options of a verb as inputs, grouped, checked as they are filled in.

    `kind` is a config class (TrainConfig if not given), `values` are options given at the start,
    nested as in YAML. `.config` is the checked config, `.values` what differs from the defaults.
    The groups of options named in `without` are left out, and Clear all leaves those of `keep`.
    """

    name = "ConfigForm"

    def __init__(
        self,
        kind: type[Any] = TrainConfig,
        values: Mapping[str, Any] | None = None,
        *,
        without: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.kind = kind
        self._keep = keep
        self._verb = kind.__name__.removesuffix("Config").lower()
        every = fields_of(kind, self._edited)
        self._fields = {p: f for p, f in every.items() if f.flag.group not in without}
        self._folds: dict[str, theme.Fold] = {}
        self._foreign: dict[str, Any] = {}
        self._unknown: dict[str, str] = {}
        self._state = Checked()
        self._status = theme.html()
        self._told = theme.html()
        self._file = ipywidgets.Text(
            value=_FILE,
            description="File",
            continuous_update=False,
            layout=ipywidgets.Layout(width="22em"),
        )
        self._file_part = self._file_fold()
        self._leave_out = theme.button("Leave them out", self.handler(self._forget_unknown))
        theme.shown(self._leave_out, yes=False)
        self.fill(
            self._preset_row(),
            self._told,
            self._leave_out,
            *self._groups(),
            self._file_part.widget,
            self._status,
        )
        self.give(values or {})

    # What it amounts to

    @property
    def config(self) -> Any:
        """The checked config. Raises LoraError that lists every problem."""
        if self.checked is None:
            raise listed(
                [*self._unknown.values(), *self._state.problems.values(), *self._state.others]
            )
        return self._state.config

    @property
    def checked(self) -> Any:
        """The checked config, or None while something is wrong."""
        return None if self._unknown else self._state.config

    @property
    def values(self) -> dict[str, Any]:
        """The given values that differ from the defaults, nested as in YAML."""
        return self._state.values

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by dotted key; keys that are no options too."""
        wrong = {".".join(path): text for path, text in self._state.problems.items()}
        return wrong | self._unknown

    @property
    def fields(self) -> Mapping[Path, Field]:
        """The inputs by the path of their option."""
        return self._fields

    def fold(self, group: str, *, is_open: bool) -> None:
        """Open or close a group of options."""
        self._folds[group].head.value = is_open

    def give(self, values: Mapping[str, Any]) -> None:
        """Fill in options, nested as in YAML; None takes one back. Others stay as they are.

        Raises LoraError for a key that is no option; wrong values are told in the form.
        """
        refuse_unknown(self.kind, values)
        for path, field in self._fields.items():
            if holds(values, path):
                field.give(value_at(values, path))
        self._edited()

    def clear(self, but: Collection[str] = ()) -> None:
        """Give every option its default back, but for those of these keys."""
        for path, field in self._fields.items():
            if path[0] not in but:
                field.give(None)
        self._foreign, self._unknown = {}, {}
        self._tell("")
        self._edited()

    def load(self, path: str | File) -> None:
        """Fill in the options of a YAML file, in the place of what was filled in before.

        Keys that are no options are shown, and keep the form from being used until they are left
        out. Raises LoraError if the file can't be read.
        """
        loaded = read_options(self.kind, File(path).expanduser())
        self.clear()
        self._foreign, self._unknown = loaded.foreign, loaded.unknown
        self.give(loaded.values)
        self._tell(loaded.words, "error" if loaded.unknown else "note")
        theme.shown(self._leave_out, bool(loaded.unknown))

    def save(self, path: str | File) -> None:
        """Write the options that differ from the defaults as YAML. Raises LoraError."""
        _ = self.config
        File(path).expanduser().write_text(self._yaml(), encoding="utf-8")

    def record(self) -> str:
        """The options that differ from the defaults, and what is wrong with them."""
        rows = [
            (".".join(path), self._fields[path].given_or_none())
            for path in self._fields
            if self._fields[path].given_or_none() is not None
        ]
        wrong = [theme.note(text, "error") for text in self.problems.values()]
        words = f"Options of %lora_{self._verb} that differ from the defaults"
        table = html_table(rows, ("option", "value"), words)
        return (table if rows else f"<div>{escape(words)}: none.</div>") + "".join(wrong)

    def recipe(self) -> Recipe | None:
        """The verb with these options."""
        _ = self.config
        return recipe_of(self._verb, self.kind, self.values)

    # How it is made

    def _preset_row(self) -> theme.Widget:
        usable = PRESETS if issubclass(self.kind, TrainConfig) else ()
        buttons = [
            theme.button(preset.name, self.handler(partial(self._apply, preset)), hint=preset.hint)
            for preset in usable
        ]
        kept = f", but for {' and '.join(self._keep)}" if self._keep else ""
        clear = theme.button(
            "Clear all",
            self.handler(partial(self.clear, self._keep)),
            hint=f"Give every option its default back{kept}",
        )
        words = [theme.html("<b>Less memory</b>")] if usable else []
        return theme.row(*words, *buttons, clear)

    def _groups(self) -> list[theme.Widget]:
        groups: dict[str, list[Field]] = {}
        for field in self._fields.values():
            groups.setdefault(field.flag.group, []).append(field)
        for name, fields in groups.items():
            self._folds[name] = theme.Fold(
                name, partial(_inputs, fields), is_open=name in _OPEN or len(groups) == 1
            )
        return [fold.widget for fold in self._folds.values()]

    def _file_fold(self) -> theme.Fold:
        return theme.Fold(
            "YAML file",
            lambda: theme.row(
                self._file,
                theme.button("Load", self.handler(self._load_named)),
                theme.button("Save", self.handler(self._save_named)),
            ),
            hint="Fill the form from a YAML file, or write one that -c takes",
        )

    # What its buttons do

    def _load_named(self) -> None:
        self.load(self._file.value)

    def _save_named(self) -> None:
        self.save(self._file.value)
        self._tell(f"Written to {self._file.value}.")

    def _forget_unknown(self) -> None:
        self._unknown = {}
        self._tell("")
        self._edited()

    def _apply(self, preset: Preset) -> None:
        change = preset.change(plain(self.config))
        self.give(change.values)
        made = ", ".join(f"{key} {value}" for key, value in change.values.items())
        self._tell("\n".join(filter(None, [made and f"Set: {made}.", change.note])))

    def _tell(self, text: str, kind: str = "note") -> None:
        self._told.value = theme.note(text, kind)
        theme.shown(self._leave_out, yes=False)

    # What follows from its inputs

    def _given(self) -> dict[Path, Any]:
        found = {path: field.given_or_none() for path, field in self._fields.items()}
        return {path: value for path, value in found.items() if value is not None}

    def _edited(self) -> None:
        given = self._given()
        defaults = defaults_of(self.kind, given)
        for path, field in self._fields.items():
            field.default_is(value_at(defaults, path))
        given = self._given()
        state = check(self.kind, given, [f.flag for f in self._fields.values()], defaults)
        broken = {path: text for path, f in self._fields.items() if (text := f.syntax)}
        if broken:
            state = replace(state, config=None, problems={**state.problems, **broken})
        self._state = state
        self._show_problems()
        self.changed()

    def _show_problems(self) -> None:
        for path, field in self._fields.items():
            field.fail(self._state.problems.get(path, ""))
        for name, fold in self._folds.items():
            fields = [field for field in self._fields.values() if field.flag.group == name]
            wrong = sum(bool(field.problem) for field in fields)
            given = sum(field.given_or_none() is not None for field in fields)
            counts = [f"{wrong} wrong"] if wrong else []
            counts += [f"{given} given"] if given else []
            fold.title(" · ".join([name, *counts]))
            if wrong:
                fold.open()
        self._status.value = theme.note("\n".join(self._state.others), "error")

    def _yaml(self) -> str:
        return as_yaml({**self.values, **self._foreign})


def _inputs(fields: list[Field]) -> theme.Widget:
    return theme.grid(*(field.widget for field in fields))
