"""The generated pages of the documentation are in step with what they are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lora_nb.commands import docs as magics
from lora_nb.commands.table import COMMANDS
from lora_nb.config import docs as options
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
    rows = [line for line in page.splitlines() if line.startswith("| `%lora_")]
    assert len(rows) == len(COMMANDS)
    for name, command in COMMANDS.items():
        (row,) = (line for line in rows if line.startswith(f"| `%lora_{name}`"))
        assert command.purpose in row
        assert f"`lora-nb {name}`" in row
        assert command.positional in row
        assert (f"`%%lora_{name}`" in row) == bool(command.cell)


def test_make_docs_writes_both_pages() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs:")[2].partition("\n\n")[0]
    assert "-m lora_nb.config.docs" in recipe
    assert "-m lora_nb.commands.docs" in recipe
