"""The generated pages of the documentation are in step with what they are made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lora_nb.commands import docs as magics
from lora_nb.commands.table import COMMANDS
from lora_nb.config import docs as options
from lora_nb.config import parse_flags
from lora_nb.magics.line import words_of
from tests.tiny import ROOT


@pytest.mark.parametrize(
    ("main", "page"), [(magics.main, "magics.md"), (options.main, "options.md")]
)
def test_the_page_is_what_would_be_written(
    main: Callable[[Sequence[str]], int],
    page: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--check", str(ROOT / "docs" / page)]) == 0, "run `make docs`"
    copy = tmp_path / page
    assert main([str(copy)]) == 0
    assert copy.read_text() == (ROOT / "docs" / page).read_text()
    copy.write_text("old")
    assert main(["--check", str(copy)]) == 1
    assert capsys.readouterr().err.startswith(f"{copy} is not in step with the ")


def test_every_command_has_its_row() -> None:
    page = magics.magics_page()
    table = page.partition("\n## Flags")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `%lora_")]
    assert len(rows) == len(COMMANDS)
    for name, command in COMMANDS.items():
        (row,) = (line for line in rows if line.startswith(f"| `%lora_{name}`"))
        assert command.purpose in row
        assert f"`lora-nb {name}`" in row
        assert command.positional in row
        assert (f"`%%lora_{name}`" in row) == bool(command.cell)


def test_every_flag_of_a_command_and_every_option_stands_in_a_page() -> None:
    for name, command in COMMANDS.items():
        for flag in command.extra:
            assert f"| `%lora_{name}` | `{', '.join(flag.names)}" in magics.magics_page()
    page = options.options_page()
    # These have no flag.
    for key in ("hf_dataset", "optimizer_config", "lr_schedule", "sweep", "history", "contenders"):
        assert f"\n|  | `{key}` |  | " in page
    sweep = page.partition("## `%lora_sweep`")[2].partition("\n## ")[0]
    assert "`adapter_path`" in sweep
    assert "`batch_size`" not in sweep
    assert "| `--seed` | `seed` | `0` |" in page


def test_make_docs_writes_both_pages() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs:")[2].partition("\n\n")[0]
    assert "-m lora_nb.config.docs" in recipe
    assert "-m lora_nb.commands.docs" in recipe


_SHOWN = re.compile(r"(?:\w+ = )?(?:%%?lora_|lora-nb )(\w+)(.*)")


def shown_lines() -> list[tuple[str, str, str]]:
    """Lines of code that README and docs show: where, the command, and the words behind it."""
    found: list[tuple[str, str, str]] = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        codes = filter(None, map(_SHOWN.match, "".join(blocks).splitlines()))
        found += [(page.name, code[1], code[2]) for code in codes]
    return found


@pytest.mark.parametrize(("page", "verb", "words"), shown_lines())
def test_a_line_of_the_documentation_can_be_pasted(page: str, verb: str, words: str) -> None:
    command = COMMANDS[verb]
    parsed = parse_flags(words_of(words, command), command.flags)
    # A magic has no comments behind it.
    assert not any("#" in word for word in parsed.rest)
    if not command.positional:
        assert parsed.rest == []


def test_the_documentation_shows_lines() -> None:
    assert {"train", "generate", "runs", "sweep", "delete"} <= {
        verb for _, verb, _ in shown_lines()
    }
