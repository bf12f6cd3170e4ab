"""`lora-nb` on a terminal: exit status and messages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lora_nb import __version__
from lora_nb.commands.table import COMMANDS
from lora_nb.console import main
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from tests.tiny import options_for, program
from tests.unit.runs.kit import ended, made, started

Capture = pytest.CaptureFixture[str]


def test_version_and_help(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lora-nb {__version__}\n"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in shown
        assert command.purpose in shown
    assert main([]) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_every_flag(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"lora-nb {name}")
    for flag in COMMANDS[name].flags:
        assert all(each in shown for each in flag.names)


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
    assert "No runs in" in capsys.readouterr().err


def test_tables_and_runs_are_printed(capsys: Capture, runs_root: Path) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "No runs yet.\n"
    run = made(runs_root, started(), ended("completed"))
    assert main(["runs"]) == 0
    assert run.name in capsys.readouterr().out
    assert main(["attach", run.name]) == 0
    assert run.name in capsys.readouterr().out


def test_an_interrupt_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lora_nb.commands.table.call", interrupted)
    assert main(["runs"]) == 130


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
