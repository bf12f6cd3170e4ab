"""Trainings that outlive the tab or the kernel they were started from."""

from __future__ import annotations

import pytest

from lora_nb.runs import control
from tests.browser.lab import ENDLESS, SHORT, Lab, last_step, worker_of
from tests.browser.notebook import Notebook

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("how", ["", " --background"], ids=["foreground", "background"])
def test_a_closed_tab_loses_nothing(lab: Lab, how: str) -> None:
    first = lab.open_cells(f"run = {SHORT}{how}")
    first.start_all()
    run = lab.wait_for_step(first, 5)
    # So that the training is not over before the second tab is there.
    control.send(run, "pause")
    first.save()
    first.wait_for("a pause", lambda: run.status == "paused")
    first.close()

    second = lab.open(first.path, busy=not how)
    cell = second.add("attached = %lora_attach")
    second.start(cell)
    if how:
        second.wait_for("the paused run", lambda: is_shown(second, cell, "paused: step "))
    control.send(run, "resume")
    # A cell that trains holds the kernel, so the second one waits for its end.
    second.wait_for("the end", lambda: run.status == "completed")
    second.wait_idle()
    outputs = second.outputs(cell) if how else second.run("attached")
    assert [shown.kind for shown in outputs] == ["display_data"]
    assert outputs[0].picture
    if how:
        assert is_shown(second, cell, "completed: 200 steps")
    else:
        assert "train, completed" in outputs[0].text
    assert second.problems == []


def is_shown(notebook: Notebook, cell: int, start: str) -> bool:
    """Whether the last picture of a cell is described by words that begin like this."""
    return any(shown.alt.startswith(start) for shown in notebook.outputs(cell))


def test_a_restarted_kernel_finds_its_training_again(lab: Lab) -> None:
    notebook = lab.open_cells(f"run = {ENDLESS}")
    notebook.start_all()
    run = lab.wait_for_step(notebook, 5)
    worker = worker_of(run)
    notebook.restart_kernel()

    assert worker.is_running()
    before = last_step(run)
    notebook.run("%load_ext lora_nb")
    cell = notebook.add("%lora_attach")
    notebook.start(cell)
    notebook.pictures(cell, at_least=2)
    lab.wait_for_step(notebook, before + 1)
    control.send(run, "stop")
    notebook.wait_idle()
    (shown,) = notebook.outputs(cell)
    assert shown.alt.startswith("stopped at step ")
    assert run.status == "stopped"
    assert (lab.folder / "adapters" / "adapters.safetensors").stat().st_size > 0
    assert notebook.problems == []
