"""A training steered from its monitor: with an idle kernel, a busy one, and a new one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lora_nb.runs.events import ControlAnswered, Resumed
from lora_nb.runs.folder import RunFolder
from tests.browser.keys import live, press, type_into
from tests.browser.lab import ENDLESS, Lab, last_step
from tests.browser.notebook import Notebook
from tests.tiny import ROOT

pytestmark = pytest.mark.browser

MONITOR = "from lora_nb_widgets import TrainingMonitor\nTrainingMonitor()"
BUSY = """import time
from pathlib import Path
while not Path("go").exists():
    time.sleep(0.05)"""


def watched(lab: Lab) -> tuple[Notebook, RunFolder]:
    """A training under way, and its monitor in the cell behind it."""
    notebook = lab.open_cells(f"run = {ENDLESS} --background", MONITOR)
    notebook.run_all()
    return notebook, lab.wait_for_step(notebook)


def becomes(notebook: Notebook, run: RunFolder, status: str) -> None:
    notebook.wait_for(status, lambda: run.status == status)


def shows(notebook: Notebook, words: str, cell: int) -> None:
    """The line below the picture begins with these words."""
    lines = live(notebook, cell).locator("b").filter(has_text=words)
    lines.locator("visible=true").first.wait_for()


def test_the_buttons_steer_a_training_after_a_reload_too(lab: Lab) -> None:
    notebook, run = watched(lab)
    press(notebook, "Pause", 2)
    becomes(notebook, run, "paused")
    shows(notebook, "paused: step", 2)
    before = last_step(run)
    press(notebook, "Resume", 2)
    lab.wait_for_step(notebook, before + 1)
    type_into(notebook, "Learning rate", "5e-4", 2)
    press(notebook, "Set", 2)
    live(notebook, 2).get_by_text("learning rate", exact=True).nth(1).wait_for()

    # What is not saved would be asked about.
    notebook.save()
    notebook.reload()
    press(notebook, "Stop", 2)
    becomes(notebook, run, "stopped")
    shows(notebook, "stopped at step", 2)
    asked = [
        each.event.request for each in run.records() if isinstance(each.event, ControlAnswered)
    ]
    assert asked == ["pause", "resume", "learning_rate", "stop"]
    assert run.checkpoints

    # What the notebook keeps of it can't be replaced from a page that was loaded anew.
    older = live(notebook, 2).locator(".lora-nb-older")
    older.wait_for()
    assert "run the panel's cell again" in older.inner_text()
    notebook.start(2)
    notebook.wait_idle()
    shows(notebook, "stopped at step", 2)
    assert older.is_hidden()

    stopped = last_step(run)
    press(notebook, "Resume training", 2)
    lab.wait_for_step(notebook, stopped + 1)
    assert [each.event.step for each in run.records() if isinstance(each.event, Resumed)]
    press(notebook, "Stop", 2)
    becomes(notebook, run, "stopped")
    shows(notebook, "stopped at step", 2)
    kept = "train, stopped"
    notebook.wait_for("the record", lambda: kept in notebook.outputs(2)[1].data["text/html"], 30)
    assert older.is_hidden()
    assert live(notebook, 2).locator(".lora-nb-error").count() == 0
    assert notebook.problems == []


def test_a_busy_kernel_loses_no_click_and_a_terminal_stops_meanwhile(lab: Lab) -> None:
    notebook, run = watched(lab)
    notebook.restart_kernel()
    monitor = notebook.add(MONITOR)
    notebook.start(monitor)
    notebook.wait_idle()
    shows(notebook, "step ", monitor)

    cell = notebook.add(BUSY)
    notebook.start(cell)
    press(notebook, "Pause", monitor)
    notebook.page.wait_for_timeout(1000)
    (lab.folder / "go").touch()
    notebook.wait_idle()
    becomes(notebook, run, "paused")
    press(notebook, "Resume", monitor)
    lab.wait_for_step(notebook, last_step(run) + 1)

    (lab.folder / "go").unlink()
    notebook.start(cell)
    stopped = lora_nb_stop(lab, run)
    assert stopped.stdout == f"{run.name}: stopped\n", stopped.stderr
    assert run.status == "stopped"
    # The thread that watches does not wait for the cell.
    shows(notebook, "stopped at step", monitor)
    assert notebook.page.evaluate("window.loraSeen.statuses.at(-1)") == "busy"
    (lab.folder / "go").touch()
    notebook.wait_idle()
    assert notebook.problems == []


def lora_nb_stop(lab: Lab, run: RunFolder) -> subprocess.CompletedProcess[str]:
    """`lora-nb stop RUN` on a terminal in the notebook's folder."""
    words = [sys.executable, "-m", "lora_nb.console", "stop", run.name]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "widgets")])
    environment = {**os.environ, "PYTHONPATH": paths, "LORA_NB_RUNS": str(lab.folder / "runs")}
    return subprocess.run(
        words, capture_output=True, text=True, cwd=lab.folder, env=environment, timeout=60
    )
