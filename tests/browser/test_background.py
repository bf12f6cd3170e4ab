"""Training on the side, while further cells are run."""

from __future__ import annotations

import pytest

from tests.browser.lab import ENDLESS, Lab, worker_of

pytestmark = pytest.mark.browser


def test_a_training_in_the_background_leaves_the_notebook_free(lab: Lab) -> None:
    notebook = lab.open_cells(
        f"run = {ENDLESS} --background", "import time; time.sleep(3); print(run.status)"
    )
    notebook.run_all()
    (told,) = notebook.outputs(2)
    assert told.text in ("starting\n", "running\n")

    lab.wait_for_step(notebook)
    busy = notebook.add("total = sum(i * i for i in range(20_000_000))")
    notebook.start(busy)
    live = notebook.pictures(1, at_least=3)
    assert live[-1].alt.startswith("step ")
    assert notebook.outputs(2) == [told]
    notebook.wait_idle()
    assert notebook.outputs(busy) == []

    run = lab.run_folder()
    worker = worker_of(run)
    (said,) = notebook.run("%lora_stop")
    assert said.text == f"{run.name}: stopped\n"
    notebook.wait_for(
        "the last picture", lambda: notebook.outputs(1)[0].alt.startswith("stopped at step "), 10
    )
    assert len(notebook.outputs(1)) == 1
    assert not worker.is_running()
    assert notebook.problems == []
