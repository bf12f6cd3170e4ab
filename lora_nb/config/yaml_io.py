"""YAML in and out, with the line of every key and numbers such as 1e-5 read as numbers.

PyYAML follows YAML 1.1, where `1e-5` is text. mlx-lm mends this by editing the process-wide
SafeLoader; here a loader of our own does it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lora_nb.errors import LoraError
from lora_nb.redact import MARK, has_secret, is_secret_name, redacted

__all__ = ["KeyPath", "Layer", "as_yaml", "read_yaml_file", "read_yaml_text", "secrets_in"]

KeyPath = tuple[str, ...]

# Options nest twice at most; what lies deeper is for somebody else.
_DEPTH = 3
_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


@dataclass
class Layer:
    """Values from one place, and the line that each key came from."""

    origin: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """The place of a key for a message, e.g. `lora.yaml, line 3`."""
        while path:
            if path in self.lines:
                return f"{self.origin}, line {self.lines[path]}"
            path = path[:-1]
        return self.origin


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's floats; a subclass, so the process keeps its own."""


class _Dumper(yaml.SafeDumper):
    """Its counterpart, which quotes the texts that the loader would read as numbers."""


for _side in (_Loader, _Dumper):
    _side.yaml_implicit_resolvers = {
        first: list(resolvers) for first, resolvers in _side.yaml_implicit_resolvers.items()
    }
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?[eE][-+]?\d+$"),
        list("-+0123456789"),
    )


def read_yaml_file(path: Path) -> Layer:
    """The options in a YAML file. Raises LoraError if it can't be read or is no mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LoraError(f"{path}: no such file. -c takes a YAML file with options.") from None
    except UnicodeDecodeError as problem:
        raise LoraError(
            f"{path}: not UTF-8 text (byte {problem.start}). Save it as UTF-8."
        ) from None
    except OSError as problem:
        raise LoraError(f"{path}: can't be read ({problem.strerror}).") from None
    return read_yaml_text(text, str(path))


def read_yaml_text(text: str, origin: str) -> Layer:
    """The options in YAML text; `origin` names it in messages."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as problem:
        raise LoraError(_syntax(problem, origin)) from None
    if node is None:
        return Layer(origin)
    if not isinstance(node, yaml.MappingNode):
        raise LoraError(f"{origin}: wanted lines like 'batch_size: 4', found {_kind(node)}.")
    layer = Layer(origin, lines=_lines(node, (), origin))
    loader = _Loader("")
    try:
        layer.values = loader.construct_document(node)
    except yaml.YAMLError as problem:
        raise LoraError(_syntax(problem, origin)) from None
    except (ValueError, TypeError) as problem:
        raise LoraError(f"{origin}: {problem}.") from None
    finally:
        loader.dispose()
    return layer


def _lines(node: yaml.MappingNode, prefix: KeyPath, origin: str) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    for key_node, value_node in node.value:
        path = (*prefix, str(key_node.value))
        line = key_node.start_mark.line + 1
        if path in lines:
            name = ".".join(path)
            raise LoraError(
                f"{origin}, line {line}: '{name}' stands twice (also line {lines[path]})."
            )
        if len(path) < _DEPTH and key_node.tag not in _KEY_TAGS:
            shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            raise LoraError(f"{origin}, line {line}: {shown} is no option name. Names are text.")
        lines[path] = line
        # Aliases can make a node contain itself, or be as good as endless.
        if isinstance(value_node, yaml.MappingNode) and len(path) < _DEPTH:
            lines |= _lines(value_node, path, origin)
    return lines


def _syntax(problem: yaml.YAMLError, origin: str) -> str:
    mark = getattr(problem, "problem_mark", None)
    what = getattr(problem, "problem", None) or str(problem)
    where = f"{origin}, line {mark.line + 1}, column {mark.column + 1}" if mark else origin
    return f"{where}: not valid YAML: {what}."


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "plain text"


def as_yaml(config: Any) -> str:
    """A config as YAML: complete, in the order of declaration, accepted back by `-c`.

    Options that are not given stand as `null`, so that no other default takes their place.
    Secrets are left out.
    """
    return yaml.dump(
        _hidden(_plain(config)),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
    )


def secrets_in(value: Any, path: KeyPath = (), above: tuple[int, ...] = ()) -> Iterator[KeyPath]:
    """The key paths of texts that are secrets, by their name or their looks."""
    if isinstance(value, str):
        if value and (is_secret_name(path[-1]) or has_secret(value)):
            yield path
    # Aliases can make a list contain itself.
    elif id(value) in above:
        return
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, (*path, str(key)), (*above, id(value)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from secrets_in(inner, path, (*above, id(value)))


def _hidden(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _hidden(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner, key) for inner in value]
    if isinstance(value, str):
        return MARK if value and is_secret_name(key) else redacted(value)
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {key: _plain(inner) for key, inner in pairs}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
