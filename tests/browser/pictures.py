"""Pictures of notebooks in JupyterLab, for the docs: python -m tests.browser.pictures DIR."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.chromium import launch
from tests.browser.lab import Lab
from tests.browser.server import LabServer

PROMPT = """table: singers
columns: name, age, country
Q: How old is Bob?"""
CELLS = {
    "quickstart": (
        "run = %lora_train --model demo --data demo --iters 100 --steps-per-eval 20",
        f"%%lora_generate --compare --model demo\n{PROMPT}",
        "%lora_runs",
    ),
    "sweep": (
        "sweep = %lora_sweep --model demo --data demo --iters 40 --learning-rate 1e-5,1e-4,1e-3",
        "sweep.leaderboard",
    ),
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def take(folder: Path) -> None:
    """Run each notebook, and write a picture of it in each theme to `folder`."""
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        server = LabServer(Path(base))
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": 960, "height": 785})
        try:
            for name in CELLS:
                lab = Lab(server, context, server.root / name)
                lab.folder.mkdir()
                _shoot(lab, name, folder)
        finally:
            browser.close()
            server.close()


def _shoot(lab: Lab, name: str, folder: Path) -> None:
    notebook = lab.open(lab.write(["%load_ext lora_nb", *CELLS[name]], f"{name}.ipynb"))
    notebook.toggle_files()
    notebook.run_all(seconds=600)
    notebook.save()
    for theme, command in THEMES.items():
        notebook.theme(command)
        notebook.choose(0)
        notebook.element(0)
        notebook.page.mouse.move(2, 2)
        notebook.page.wait_for_timeout(1000)
        path = folder / f"{name}-{theme}.png"
        notebook.page.screenshot(path=path)
        shrink(path)


def shrink(path: Path) -> None:
    """Write a picture anew with fewer colours."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
