"""Panels without a mouse, and in the dark: names, rings of focus, lists, arrows that are seen."""

from __future__ import annotations

import re

import pytest

from tests.browser.keys import button, live, press
from tests.browser.lab import Lab
from tests.browser.notebook import Notebook
from tests.browser.test_panels import STUDIO

pytestmark = pytest.mark.browser

FOCUSED = """() => {
    const e = document.activeElement, style = getComputedStyle(e);
    const labels = [...(e.labels || [])].map(label => label.textContent).join('');
    const ring = style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
    const name = (labels || (e.tagName === 'BUTTON' ? e.textContent : '')).replace(/\\W/g, '');
    return { inside: !!e.closest('.lora-nb-panel'), name, ring };
}"""
# By tab: a button far down in it.
LAST = {"Train": "Thisstudioascode", "Watch": "Refresh", "Playground": "Releasememory"}


def walked(notebook: Notebook) -> list[dict[str, object]]:
    """What has the focus, one after the other, from the first input of the panel to its last."""
    found: list[dict[str, object]] = []
    live(notebook).get_by_label("Model", exact=True).first.focus()
    while True:
        now: dict[str, object] = notebook.page.evaluate(FOCUSED)
        if not now["inside"]:
            return found
        found.append(now)
        assert len(found) < 100, "no way out of the panel"
        notebook.page.keyboard.press("Tab")


def test_all_can_be_reached_has_a_name_and_shows_the_focus(lab: Lab) -> None:
    notebook = lab.open_cells(STUDIO)
    notebook.run_all()
    for tab, last in LAST.items():
        press(notebook, tab)
        place = {"Train": "Start training", "Watch": "Refresh", "Playground": "Send"}
        button(notebook, place[tab]).wait_for()
        seen = walked(notebook)
        names = [str(each["name"]) for each in seen]
        assert names[:3] == ["Model", "Data", "Data"]
        assert last in names
        assert [each for each in seen if not each["name"] or each["ring"] != 2] == [], tab
    assert notebook.problems == []


def test_a_list_is_chosen_from_by_keys(lab: Lab) -> None:
    notebook = lab.open_cells(STUDIO)
    notebook.run_all()
    split = live(notebook).get_by_label("Split", exact=True)
    split.focus()
    # The arrows alone are JupyterLab's, for going from cell to cell.
    for key in (" ", "ArrowDown", "Enter"):
        notebook.page.keyboard.press(key)
    live(notebook).get_by_text("rows of valid").first.wait_for()
    assert split.evaluate("e => e === document.activeElement")
    assert notebook.problems == []


def test_the_arrow_of_a_list_has_the_colour_of_the_words(lab: Lab) -> None:
    notebook = lab.open_cells(STUDIO)
    notebook.run_all()
    split = live(notebook).get_by_label("Split", exact=True)
    for name, is_dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        notebook.theme(name)
        drawn: str = split.evaluate("e => getComputedStyle(e).backgroundImage")
        colours = [c for c in re.findall(r"rgba?\(([^)]*)\)", drawn) if c != "0, 0, 0, 0"]
        brightness = {int(colour.split(",")[0]) for colour in colours}
        assert brightness == {255 if is_dark else 0}, drawn
    assert notebook.problems == []
