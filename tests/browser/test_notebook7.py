"""The same in Jupyter Notebook 7."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.keys import live, press, type_into
from tests.browser.lab import SHORT, Lab
from tests.browser.server import LabServer
from tests.browser.test_foreground import only_picture

pytestmark = pytest.mark.browser

STUDIO = "%lora_studio --model model --data data --batch-size 2 --val-batches 1 --overwrite"
# Said by Jupyter Notebook 7.6 of itself, with nothing of ours on the page too.
OWN = (
    "Cannot read properties of undefined (reading 'schema')",
    "Command 'filebrowser:open-path' not registered.",
)


@pytest.fixture
def classic(tmp_path: Path, context: BrowserContext, tiny: tuple[Path, Path]) -> Iterator[Lab]:
    """A Jupyter Notebook, and a folder with `model` and `data`."""
    server = LabServer(tmp_path / "server", "notebook")
    for source, name in zip(tiny, ("model", "data"), strict=True):
        shutil.copytree(source, server.root / name)
    yield Lab(server, context, server.root)
    for page in context.pages:
        page.close()
    server.close()


def test_a_training_and_the_studio_in_jupyter_notebook(classic: Lab) -> None:
    lab = classic
    notebook = lab.open_cells(f"run = {SHORT} --iters 20 --name first", STUDIO)
    notebook.run_all()
    assert only_picture(notebook.outputs(1)).alt.startswith("completed: 20 steps")

    first = lab.run_folder()
    panel = live(notebook, 2)
    press(notebook, "Watch", 2)
    panel.get_by_text("completed: 20 steps").first.wait_for()
    press(notebook, "Train", 2)
    type_into(notebook, "iters", "6", 2)
    press(notebook, "Start training", 2)
    notebook.wait_for("a second run", lambda: lab.run_folder().name != first.name, 60)
    second = lab.run_folder()
    notebook.wait_for("its end", lambda: second.status == "completed", 120)
    panel.get_by_text("completed: 6 steps").first.wait_for()
    assert panel.locator(".lora-nb-error").count() == 0
    assert "/notebooks/" in notebook.page.url
    assert [each for each in notebook.problems if not each.endswith(OWN)] == []
    assert [url for url in notebook.requests if lab.is_foreign(url)] == []
