"""A kernel that is interrupted because it is about to be restarted."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from lora_nb.display import notebook


def shell_of(monkeypatch: pytest.MonkeyPatch, *, leaving: bool) -> SimpleNamespace:
    shell = SimpleNamespace(kernel=object(), exit_now=leaving)
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    return shell


def test_a_kernel_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    shell_of(monkeypatch, leaving=False)
    assert notebook.is_leaving(0.05) is False


def test_a_kernel_that_was_asked_to_leave_or_is_asked_a_moment_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = shell_of(monkeypatch, leaving=True)
    assert notebook.is_leaving(0.0) is True

    shell.exit_now = False
    threading.Timer(0.05, lambda: setattr(shell, "exit_now", True)).start()
    assert notebook.is_leaving(5) is True


def test_no_kernel_is_never_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    assert notebook.is_leaving(5) is False
