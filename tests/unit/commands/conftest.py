"""A shell with the magics, and what commands would start, instead of starting it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from lora_nb import api
from lora_nb.display import Generated
from tests.tiny import data, finished, home, model

__all__ = ["asked", "data", "finished", "home", "model", "shell", "started"]


class Shell:
    """An IPython shell in this process."""

    def __init__(self, folder: Path) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        self.shell: InteractiveShell = InteractiveShell.instance(
            config=config, ipython_dir=str(folder)
        )
        self.load()

    def load(self) -> None:
        self.shell.run_line_magic("load_ext", "lora_nb")

    def run(self, cell: str) -> ExecutionResult:
        """Run a cell as a notebook does."""
        done: ExecutionResult = self.shell.run_cell(cell)  # type: ignore[no-untyped-call]
        return done

    def value(self, cell: str) -> Any:
        """The result of a cell that must succeed."""
        done = self.run(cell)
        assert done.success, done.error_in_exec
        return done.result

    def error(self, cell: str) -> BaseException:
        """What a cell raises that must fail."""
        done = self.run(cell)
        assert not done.success
        problem = done.error_in_exec or done.error_before_exec
        assert problem is not None
        return problem

    def completions(self, line: str) -> list[str]:
        """What TAB offers at the end of the last line of a cell."""
        from IPython.core.completer import provisionalcompleter

        with provisionalcompleter():
            found = self.shell.Completer.completions(line, len(line))
            return [each.text for each in found]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The shell of a module's tests."""
    made = Shell(tmp_path_factory.mktemp("ipython"))
    yield made
    made.shell.run_line_magic("unload_ext", "lora_nb")
    InteractiveShell.clear_instance()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, bool]]:
    """The configs that would have been started, and whether in the background."""
    configs: list[tuple[Any, bool]] = []

    def start(config: Any, *, background: bool = False) -> str:
        configs.append((config, background))
        return "a run"

    monkeypatch.setattr(api, "start", start)
    return configs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, bool]]:
    """The configs that would have been generated with, and whether to compare."""
    configs: list[tuple[Any, bool]] = []

    def generated(config: Any, *, compare: bool = False) -> Generated:
        configs.append((config, compare))
        return Generated({"base": "an answer"})

    monkeypatch.setattr(api, "generated", generated)
    return configs
