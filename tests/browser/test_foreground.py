"""Training, generating and listing in a notebook that is run from top to bottom."""

from __future__ import annotations

import base64

import pytest
from safetensors.numpy import load_file

from tests.browser.lab import ENDLESS, SHORT, Lab, nbformat, worker_of
from tests.browser.notebook import Notebook, Output

pytestmark = pytest.mark.browser

PLACEHOLDER = "<lora_nb run>"


def only_picture(outputs: list[Output]) -> Output:
    """The one output of a watched training."""
    assert [shown.kind for shown in outputs] == ["display_data"], outputs
    assert base64.b64decode(outputs[0].picture).startswith(b"\x89PNG")
    assert outputs[0].data["text/plain"] == PLACEHOLDER
    return outputs[0]


def test_run_all_shows_a_live_picture_that_stays_in_the_saved_notebook(lab: Lab) -> None:
    notebook = lab.open_cells(
        f"run = {SHORT} --name singers",
        "%lora_generate --compare --model model --max-tokens 12 \\\n    how old is Bob?",
        "%lora_runs",
    )
    notebook.start_all()
    live = notebook.pictures(1, at_least=3)
    assert {tuple(sorted(shown.data)) for shown in live} == {("image/png", "text/plain")}
    assert {shown.data["text/plain"] for shown in live} == {PLACEHOLDER}
    notebook.wait_idle()

    final = only_picture(notebook.outputs(1))
    assert final.alt.startswith("completed: 200 steps")
    assert final.picture not in [shown.picture for shown in live]
    stream, texts = notebook.outputs(2)
    assert stream.text == "<lora_nb text>"
    assert ">base</th>" in texts.data["text/html"]
    assert ">adapter</th>" in texts.data["text/html"]
    (table,) = notebook.outputs(3)
    assert table.kind == "execute_result"
    assert "singers" in table.text
    assert "completed" in table.text
    assert notebook.problems == []
    assert notebook.dialogs == []
    assert [url for url in notebook.requests if lab.is_foreign(url)] == []

    notebook.save()
    saved = nbformat.read(notebook.path, as_version=4)
    assert [len(cell.outputs) for cell in saved.cells] == [0, 1, 2, 1]
    assert saved.cells[1].outputs[0].data["image/png"].strip() == final.picture.strip()


def test_the_stop_button_ends_a_training_and_keeps_what_it_learnt(lab: Lab) -> None:
    notebook = lab.open_cells(f"run = {ENDLESS}", "print(run.status)")
    notebook.start_all()
    notebook.pictures(1, at_least=2)
    run = lab.wait_for_step(notebook)
    notebook.interrupt()
    notebook.wait_idle()

    assert only_picture(notebook.outputs(1)).alt.startswith("stopped at step ")
    assert [shown.text for shown in notebook.outputs(2)] == ["stopped\n"]
    assert run.status == "stopped"
    assert run.checkpoints
    for folder in (lab.folder / "adapters", run.checkpoints[-1].path):
        assert load_file(folder / "adapters.safetensors")
    assert notebook.problems == []


def test_a_second_press_of_the_stop_button_ends_it_at_once(lab: Lab) -> None:
    notebook = lab.open_cells(f"run = {ENDLESS}", "print('never')")
    notebook.start_all()
    run = lab.wait_for_step(notebook)
    worker = worker_of(run)
    # As in a very long step: the worker answers nothing.
    worker.suspend()
    notebook.page.wait_for_timeout(1500)
    running = only_picture(notebook.outputs(1)).picture
    notebook.interrupt()
    stopping = next_picture(notebook, running)
    notebook.interrupt()
    next_picture(notebook, stopping)
    notebook.wait_idle()

    picture, error = notebook.outputs(1)
    assert picture.alt.startswith("aborted at step ")
    assert picture.data["text/plain"] == PLACEHOLDER
    assert error.kind == "error"
    assert error.text == (
        "LoraError: Ended by force, as it did not answer. Checkpoints before that are kept."
    )
    assert run.status == "aborted"
    assert not worker.is_running()
    assert notebook.count(2) is None
    assert notebook.outputs(2) == []


def next_picture(notebook: Notebook, before: str) -> str:
    """The picture in the place of the one before."""
    notebook.wait_for(
        "another picture", lambda: only_picture(notebook.outputs(1)).picture != before, 20
    )
    return notebook.outputs(1)[0].picture
