"""One input for each option of a config, made from its declaration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ipywidgets
import yaml

from lora_nb.config import Flag, flags_of
from lora_nb.config.fields import specs_of
from lora_nb.config.yaml_io import read_yaml_text
from lora_nb.errors import LoraError
from lora_nb_widgets import theme
from lora_nb_widgets.theme import Widget, note

__all__ = ["Field", "Path", "fields_of", "holds", "options_of", "value_at"]

Path = tuple[str, ...]
"""The key of an option, and of what is nested in it."""

_LABEL = "13.5em"
_NOT_GIVEN = "not given"
_ORDER = ("Model", "Data", "Adapter", "Training")
_UNSET = object()
# Where in a text: it is not the user's, who has not written the key before it.
_PLACE = re.compile(r"^text(, line \d+)?(, column \d+)?: ")
_ON_LEAVING = {"continuous_update": False}
_SUGGESTED = {"model": ("demo",), "data": ("demo", "mlx-community/WikiSQL")}


def options_of(kind: type[Any]) -> Iterator[Flag]:
    """The options of a config, model and data first, what a run is called last.

    Those that are no flags come with their key as name; their value is written as YAML.
    """
    yield from sorted(_declared(kind), key=lambda flag: _rank(flag.group))


def _rank(group: str) -> int:
    if group == "Run":
        return len(_ORDER) + 1
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _declared(kind: type[Any]) -> Iterator[Flag]:
    flags: dict[str, list[Flag]] = {}
    for flag in flags_of(kind):
        if flag.path != ("config",):
            flags.setdefault(flag.path[0], []).append(flag)
    for spec in specs_of(kind):
        alone = Flag((spec.key,), (spec.key,), spec.help, spec.opt.group, default=spec.default)
        yield from flags.get(spec.key, [alone])


def fields_of(kind: type[Any], changed: Callable[[], None]) -> dict[Path, Field]:
    """An input for each option; `changed` is called when one has been changed."""
    make = _Maker()
    return {flag.path: Field(flag, changed, make(flag)) for flag in options_of(kind)}


def value_at(values: Mapping[str, Any], path: Path) -> Any:
    """The value at a path of nested options, None where there is none."""
    found: Any = values
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def holds(values: Mapping[str, Any], path: Path) -> bool:
    """Whether nested options hold that of a path, be it None."""
    above: Any = value_at(values, path[:-1]) if path[:-1] else values
    return isinstance(above, Mapping) and path[-1] in above


class Field:
    """An option's input: empty while the default holds, which it shows in grey."""

    def __init__(self, flag: Flag, changed: Callable[[], None], widget: Widget) -> None:
        self.flag = flag
        self.problem = ""
        self._default: Any = _UNSET
        # What came out of a file and no input of this kind can show.
        self._held: Any = None
        self._changed = changed
        self._quiet = False
        self._indent = _LABEL
        self.input = widget
        self._told: Widget | None = None
        self.widget = ipywidgets.VBox((self.input,), layout=_box())
        self.input.observe(self._follow, "value")
        self.default_is(flag.default)

    def compact(self) -> None:
        """Give it a short label, in line with inputs that are no options."""
        self.input.style = {"description_width": theme.LABEL}
        self.input.layout = ipywidgets.Layout(width="auto", margin="0")
        self.widget.layout = ipywidgets.Layout(flex="1 1 320px", min_width="0", margin="2px 8px")
        self._indent = "0"

    @property
    def is_yaml(self) -> bool:
        """Whether the value is written as YAML."""
        return not self.flag.names[0].startswith("-")

    def given(self) -> Any:
        """What is given, None for nothing. Raises LoraError for what is no YAML."""
        if self._held is not None:
            return self._held
        value = self.input.value
        if self.flag.is_switch:
            return None if value == bool(self._default) else value
        text = value.strip()
        if not text:
            return None
        if self.is_yaml:
            key = self.flag.path[-1]
            return read_yaml_text(f"{key}: {_indented(text)}", "text").values[key]
        if self.flag.is_list:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text

    def give(self, value: Any) -> None:
        """Show a value as one that is given, without telling; None gives the default back."""
        self._quietly(self._give, value)

    def default_is(self, value: Any) -> None:
        """Show another default, unless a value is given."""
        if self._default is _UNSET or value != self._default:
            self._quietly(self._renew_default, value)

    def fail(self, problem: str) -> None:
        """Tell what is wrong with the value below it, or that nothing is."""
        if problem == self.problem:
            return
        self.problem = problem
        if self._told is None:
            self._told = ipywidgets.HTML(layout=ipywidgets.Layout(margin=f"0 0 0 {self._indent}"))
        self._told.value = note(problem, "error")
        self.widget.children = (self.input, self._told) if problem else (self.input,)

    def _give(self, value: Any) -> None:
        self._held = None
        if self.flag.is_switch:
            if not isinstance(value, bool | None):
                self._held = value
            self.input.value = value if isinstance(value, bool) else bool(self._default)
            return
        text = self._text(value)
        if self.flag.choices and text:
            known = [choice for _, choice in self.input.options]
            if text == str(self._default):
                text = ""
            elif text not in known:
                self._held, text = value, ""
        self.input.value = text

    def _text(self, value: Any) -> str:
        if value is None:
            return ""
        if self.is_yaml:
            return _flow(value)
        if self.flag.is_list and isinstance(value, list | tuple):
            return ",".join(map(str, value))
        if isinstance(value, dict | list | tuple):
            self._held = value
            return ""
        return str(value)

    def _renew_default(self, value: Any) -> None:
        was_given = self._default is not _UNSET and self.given_or_none() is not None
        now = self.input.value
        self._default = value
        if self.flag.is_switch:
            self.input.value = now if was_given else bool(value)
        elif self.flag.choices:
            self.input.options = _choices(self.flag, value)
            self.input.value = now if now in self.flag.choices and now != str(value) else ""
        else:
            shown = self._shown(value)
            self.input.placeholder = shown or _NOT_GIVEN

    def given_or_none(self) -> Any:
        """What is given, None also for what is no YAML."""
        try:
            return self.given()
        except LoraError:
            return None

    @property
    def syntax(self) -> str:
        """Why what is given is no YAML, or nothing."""
        try:
            self.given()
        except LoraError as problem:
            return f"{self.flag.names[0]}: {_PLACE.sub('', str(problem))}"
        return ""

    def _shown(self, value: Any) -> str:
        if value is None or value in ({}, []):
            return ""
        return _flow(value) if self.is_yaml else self._text(value)

    def _quietly(self, act: Callable[[Any], None], value: Any) -> None:
        self._quiet = True
        try:
            act(value)
        finally:
            self._quiet = False

    def _follow(self, _: object) -> None:
        if not self._quiet:
            self._held = None
            self._changed()


class _Maker:
    """Makes inputs whose layouts and styles are shared: each would be a message to the browser."""

    def __init__(self) -> None:
        self._layout = ipywidgets.Layout(width="auto")
        self._styles: dict[type[Any], Any] = {}

    def __call__(self, flag: Flag) -> Widget:
        """The input that fits an option."""
        if flag.is_switch:
            return self._made(ipywidgets.Checkbox, flag)
        if flag.choices:
            options = _choices(flag, flag.default)
            return self._made(ipywidgets.Dropdown, flag, options=options, value="")
        if suggested := _SUGGESTED.get(flag.completes):
            return self._made(
                ipywidgets.Combobox, flag, options=suggested, ensure_option=False, **_ON_LEAVING
            )
        if not flag.names[0].startswith("-"):
            return self._made(ipywidgets.Textarea, flag, rows=1, **_ON_LEAVING)
        return self._made(ipywidgets.Text, flag, **_ON_LEAVING)

    def _made(self, kind: type[Any], flag: Flag, **values: Any) -> Widget:
        made = kind(
            description=flag.path[-1],
            tooltip=_hint(flag),
            style=self._styles.get(kind, {"description_width": _LABEL}),
            layout=self._layout,
            **values,
        )
        self._styles[kind] = made.style
        return made


def _choices(flag: Flag, default: Any) -> list[tuple[str, str]]:
    first = _NOT_GIVEN if default is None else f"{default} (default)"
    others = [(choice, choice) for choice in flag.choices if choice != str(default)]
    return [(first, ""), *others]


def _hint(flag: Flag) -> str:
    written = ", ".join(flag.names) if flag.names[0].startswith("-") else "written as YAML"
    return f"{flag.help} ({written})"


def _box() -> Widget:
    return ipywidgets.Layout(flex="1 1 330px", max_width="620px", min_width="0", margin="1px 6px")


def _flow(value: Any) -> str:
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    text: str = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()


def _indented(text: str) -> str:
    """YAML as the value of a key: in braces on the same line, or on lines of its own."""
    if "\n" not in text and ": " not in text.split("{", maxsplit=1)[0]:
        return text
    return "\n" + "\n".join(f"  {line}" for line in text.splitlines())
