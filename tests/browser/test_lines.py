"""What a magic line offers while it is written, and says when it is wrong."""

from __future__ import annotations

import re

import pytest

from lora_nb.commands.table import COMMANDS
from tests.browser.lab import Lab

pytestmark = pytest.mark.browser


def test_tab_offers_flags_and_choices(lab: Lab) -> None:
    notebook = lab.open_cells()
    notebook.run_all()
    assert notebook.complete("run = %lora_train --opti") == ["--optimizer"]
    assert sorted(notebook.complete("%lora_train --optimizer a")) == ["adafactor", "adam", "adamw"]
    assert notebook.problems == []


def test_a_wrong_flag_is_one_line_and_ends_run_all(lab: Lab) -> None:
    notebook = lab.open_cells("%lora_train --dta data", "print('never')")
    notebook.run_all()
    (error,) = notebook.outputs(1)
    assert error.kind == "error"
    assert error.text == "LoraError: --dta is not a flag here. Did you mean '--data'?"
    shown = notebook.element(1).locator(".jp-OutputArea-output").all_inner_texts()
    assert [text.strip() for text in shown] == [error.text]
    assert notebook.count(2) is None
    assert notebook.outputs(2) == []
    assert not (lab.folder / "runs").exists()


def test_a_question_mark_opens_the_help(lab: Lab) -> None:
    notebook = lab.open_cells("%lora_train?")
    notebook.run_all()
    (page,) = notebook.outputs(1)
    words = set(re.findall(r"--[\w-]+", page.text))
    flags = {name for flag in COMMANDS["train"].flags for name in flag.names if name[:2] == "--"}
    assert flags - words == set()
    assert "Fine-tune a model with LoRA, QLoRA, DoRA or in full." in page.text
