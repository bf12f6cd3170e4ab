"""Pictures of the studio for the docs: python -m tests.browser.studio_pictures DIR."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.chromium import launch
from tests.browser.keys import live, press, type_into
from tests.browser.lab import Lab
from tests.browser.notebook import Notebook
from tests.browser.pictures import PROMPT, THEMES, shrink
from tests.browser.server import LabServer

CELL = "%lora_studio --iters 100 --steps-per-eval 20"
WIDTH = 960
# By tab: the height that shows what it is about.
HEIGHTS = {"Data": 1080, "Train": 900, "Watch": 900, "Playground": 1010, "Fuse": 1100}


def take(folder: Path) -> None:
    """Go with the demo through the studio, and write a picture of each tab in each theme."""
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        server = LabServer(Path(base))
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": WIDTH, "height": 900})
        try:
            notebook = _used(Lab(server, context, server.root))
            for theme, command in THEMES.items():
                notebook.theme(command)
                for tab, height in HEIGHTS.items():
                    _shoot(notebook, tab, height, folder / f"studio-{tab.lower()}-{theme}.png")
        finally:
            browser.close()
            server.close()


def _used(lab: Lab) -> Notebook:
    """A studio that was trained, asked and fused in."""
    notebook = lab.open(lab.write(["%load_ext lora_nb", CELL], "studio.ipynb"))
    notebook.toggle_files()
    notebook.run_all(seconds=120)
    panel = live(notebook)
    type_into(notebook, "Row", "0")
    panel.get_by_text("train row 0").first.wait_for(timeout=60_000)
    press(notebook, "Train")
    press(notebook, "Start training")
    run = lab.wait_for_step(notebook, 100, 600)
    notebook.wait_for("the end", lambda: run.status == "completed")
    press(notebook, "Playground")
    panel.get_by_placeholder("Your prompt").fill(PROMPT)
    press(notebook, "Send")
    panel.get_by_text("SELECT age").first.wait_for(timeout=120_000)
    press(notebook, "Fuse")
    press(notebook, "Fuse", nth=1)
    panel.get_by_text("base and adapter").first.wait_for(timeout=120_000)
    # Room for what came of it.
    for fold in ("Model", "Check"):
        press(notebook, fold, fold=True)
    notebook.save()
    return notebook


def _shoot(notebook: Notebook, tab: str, height: int, path: Path) -> None:
    notebook.page.set_viewport_size({"width": WIDTH, "height": height})
    press(notebook, tab)
    notebook.element(1)
    # No ring of focus, no pointer's shade.
    notebook.page.evaluate("document.activeElement.blur()")
    notebook.page.mouse.move(2, 2)
    notebook.page.wait_for_timeout(2500)
    notebook.page.screenshot(path=path)
    shrink(path)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
