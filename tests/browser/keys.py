"""A panel in a cell, used as somebody does who has a keyboard: go there, type, press."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.browser.notebook import Notebook

__all__ = ["button", "live", "press", "record_of", "type_into"]


def live(notebook: Notebook, cell: int = 1) -> Locator:
    """The panel of a cell, once it is there."""
    panel = notebook.element(cell).locator(".lora-nb-panel").first
    panel.wait_for()
    return panel


def button(
    notebook: Notebook, name: str, cell: int = 1, *, fold: bool = False, nth: int = 0
) -> Locator:
    """A button that is to be seen. The name of a fold has its triangle in it."""
    named = live(notebook, cell).get_by_role("button", name=name, exact=not fold)
    return named.locator("visible=true").nth(nth)


def press(
    notebook: Notebook, name: str, cell: int = 1, *, fold: bool = False, nth: int = 0
) -> None:
    """Go to a button and press it with a key, once that can be done."""
    found = button(notebook, name, cell, fold=fold, nth=nth)
    found.wait_for()
    notebook.wait_for(f"{name!r} can be pressed", found.is_enabled)
    found.focus()
    notebook.page.keyboard.press("Enter")


def type_into(notebook: Notebook, label: str, text: str, cell: int = 1) -> None:
    """Put a text into an input that is to be seen, and leave it with TAB."""
    labelled = live(notebook, cell).get_by_label(label, exact=True)
    labelled.locator("visible=true").first.focus()
    notebook.page.keyboard.press("Control+A")
    notebook.page.keyboard.type(text)
    notebook.page.keyboard.press("Tab")


def record_of(notebook: Notebook, cell: int = 1) -> Locator:
    """The record beside the panel of a cell."""
    return notebook.element(cell).locator(".lora-nb-record")
