"""`lora-nb` on a terminal: exit status and messages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lora_nb import __version__
from lora_nb.commands.table import COMMANDS
from lora_nb.console import main
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from tests.tiny import options_for, program, python
from tests.unit.runs.kit import ended, made, started

Capture = pytest.CaptureFixture[str]


def test_version_and_help(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lora-nb {__version__}\n"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in shown
        assert command.purpose.replace("%lora_", "lora-nb ") in shown
    assert "%lora_" not in shown
    assert main([]) == 2
    assert capsys.readouterr().out == shown
    assert main(["help", "set"]) == 0
    assert capsys.readouterr().out.startswith("lora-nb set [flags] [RUN]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_every_flag(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"lora-nb {name}")
    for flag in COMMANDS[name].flags:
        assert all(each in shown for each in flag.names)
    # A terminal has commands, and only a notebook cells.
    assert not re.search(r"(?<!%)%lora_", shown)


def test_an_unknown_command(capsys: Capture) -> None:
    assert main(["trian"]) == 2
    told = capsys.readouterr()
    assert told.err == "lora-nb: there is no command 'trian'. Did you mean 'train'?\n"
    assert told.out == ""


def test_problems_are_told_on_stderr(capsys: Capture, runs_root: Path) -> None:
    assert main(["train", "--iters", "none", "--model", "m"]) == 1
    told = capsys.readouterr()
    assert told.err == "lora-nb: --iters: 'none' is not a whole number.\n"
    assert told.out == ""
    assert main(["attach"]) == 1
    told_of = capsys.readouterr().err
    assert told_of.startswith("lora-nb: No runs in ")
    assert told_of.endswith(" yet. lora-nb train starts one.\n")


def test_tables_and_runs_are_printed(capsys: Capture, runs_root: Path) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "No runs yet.\n"
    run = made(runs_root, started(), ended("completed"))
    assert main(["runs"]) == 0
    assert run.name in capsys.readouterr().out
    assert main(["runs", "--status", "failed"]) == 0
    assert capsys.readouterr().out == "No run fits.\n"
    assert main(["attach", run.name]) == 0
    assert run.name in capsys.readouterr().out


def test_an_interrupt_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lora_nb.commands.table.call", interrupted)
    assert main(["runs"]) == 130


@pytest.mark.parametrize("words", ["print('one', flush=True)", "print('one')"])
def test_a_reader_that_wants_no_more_is_no_error(words: str) -> None:
    code = (
        "import os, sys; from lora_nb import console\n"
        "from lora_nb.commands import table\n"
        "reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader); os.close(writer)\n"
        f"table.call = lambda *_: {words}\n"
        "sys.exit(console.main(['runs']))"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_training_as_a_program(home: Path, tmp_path: Path, runs_root: Path) -> None:
    options = options_for(home, adapter_path=tmp_path / "adapters", iters=2)
    words = [
        word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)
    ]
    done = program(sys.executable, "-m", "lora_nb.console", "train", *map(str, words))
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout
    assert "\x1b" not in done.stdout
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).is_file()

    words[words.index("--iters") + 1] = "0"
    wrong = program(sys.executable, "-m", "lora_nb.console", "train", *map(str, words))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "lora-nb: --iters: '0' is out of range; give at least 1.\n"
