"""The options table of the documentation, made from the declarations.

`python -m lora_nb.config.docs` writes `docs/options.md`; with `--check` it only says whether the
file is in step. Another file may be named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_nb.config.fields import specs_of
from lora_nb.config.flags import CONFIG_FLAG, Flag, flags_of
from lora_nb.config.options import DataConfig, SweepConfig, TestConfig, TrainConfig
from lora_nb.config.options_generating import CompareConfig, GenerateConfig
from lora_nb.config.options_shipping import ConvertConfig, FuseConfig, UploadConfig
from lora_nb.config.values import said

__all__ = ["main", "options_page", "table_cell", "write_or_check"]

_VERBS: dict[str, type[Any]] = {
    "lora_train": TrainConfig,
    "lora_sweep": SweepConfig,
    "lora_test": TestConfig,
    "lora_generate": GenerateConfig,
    "lora_data": DataConfig,
    "lora_convert": ConvertConfig,
    "lora_fuse": FuseConfig,
    "lora_upload": UploadConfig,
    "lora_compare": CompareConfig,
}

_PAGE = Path("docs/options.md")
_OF_TRAINING = specs_of(TrainConfig)

_HEAD = """# Options

Made from the declarations in `lora_nb/config/options*.py` by `make docs`; edit them there.
YAML keys are mlx-lm's. A dotted key is nested: `lora_parameters.rank` is `rank` below
`lora_parameters`. An option without a flag is given in YAML, or as an argument in Python. A switch
is turned on by its flag, and off by `--no-...`: `--no-mask-prompt`. Losses are in nats per trained
token. What magics have besides stands in [magics.md](magics.md).

`%lora_fit` and `%lora_studio` take the options of `%lora_train`. So does `%lora_sweep`, any of them
with several values.
"""


def options_page() -> str:
    """The page in Markdown: a table for each verb."""
    return "\n".join([_HEAD, *(_table(name, kind) for name, kind in _VERBS.items())])


def _table(name: str, kind: type[Any]) -> str:
    new = [spec for spec in specs_of(kind) if kind is not SweepConfig or spec not in _OF_TRAINING]
    keys = {spec.key for spec in new}
    rows = [
        f"## `%{name}`",
        "",
        "| flag | YAML key | default | what it does |",
        "|---|---|---|---|",
    ]
    flags = [flag for flag in flags_of(kind) if flag.path[0] in keys or flag is CONFIG_FLAG]
    rows += [_row(flag) for flag in flags]
    rows += [
        f"|  | `{spec.key}` |  | {table_cell(spec.help)} |" for spec in new if not spec.opt.flag
    ]
    return "\n".join(rows) + "\n"


def _row(flag: Flag) -> str:
    names = ", ".join(f"`{name}`" for name in flag.names)
    key = "" if flag is CONFIG_FLAG else f"`{'.'.join(flag.path)}`"
    default = "" if flag.default is None or flag.default == "" else f"`{said(flag.default)}`"
    told = all(re.search(rf"\b{re.escape(choice)}\b", flag.help) for choice in flag.choices)
    choices = "" if told else f" One of {', '.join(flag.choices)}."
    return f"| {names} | {key} | {default} | {table_cell(flag.help + choices)} |"


def table_cell(text: str) -> str:
    """Text as it may stand in a table of Markdown."""
    return text.replace("|", "\\|")


def write_or_check(arguments: Sequence[str], usual: Path, page: str, source: str) -> int:
    """Write a page to its usual file or the one that is named, or check it; the exit status."""
    named = [Path(word) for word in arguments if word != "--check"]
    path = named[0] if named else usual
    if "--check" not in arguments:
        path.write_text(page, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == page:
        return 0
    print(f"{path} is not in step with the {source}. Run `make docs`.", file=sys.stderr)
    return 1


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; returns the exit status."""
    return write_or_check(arguments, _PAGE, options_page(), "options")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
