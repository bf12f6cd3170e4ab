"""The thin edge to Jupyter: is there a kernel, and one output that can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Handle", "in_kernel", "is_leaving", "new_handle", "show", "this_cell"]

_LOOK_SECONDS = 0.02


class Handle(Protocol):
    """One output of a cell, shown once and then replaced (IPython's DisplayHandle)."""

    def display(
        self, obj: Mapping[str, str], *, raw: bool, metadata: Mapping[str, Mapping[str, object]]
    ) -> None:
        """Show the bundle below what the cell has shown so far."""

    def update(
        self, obj: Mapping[str, str], *, raw: bool, metadata: Mapping[str, Mapping[str, object]]
    ) -> None:
        """Put the bundle in the place of the one shown before."""


def in_kernel() -> bool:
    """Whether this is a Jupyter kernel, not a terminal or plain Python."""
    import sys

    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def this_cell() -> int | None:
    """The number of the cell that is being run, or None outside IPython."""
    import sys

    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    number: int | None = getattr(get_ipython(), "execution_count", None)
    return number


def is_leaving(seconds: float = 0.4) -> bool:
    """Whether this kernel is asked to shut down, now or within the next `seconds`.

    Front ends interrupt a kernel before they restart it, and ask a moment later.
    """
    import time

    if not in_kernel():
        return False
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    deadline = time.monotonic() + seconds
    while not getattr(shell, "exit_now", False):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def new_handle() -> Handle:
    """A handle on a new output."""
    from IPython.display import DisplayHandle

    make: Callable[[], Handle] = DisplayHandle
    return make()


def show(bundle: Mapping[str, str]) -> None:
    """Show a bundle as an ordinary output that stays as it is."""
    from IPython.display import display

    put: Callable[..., object] = display
    put(dict(bundle), raw=True)
