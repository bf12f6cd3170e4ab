"""Panels by mouse and keyboard: on to a fused model, with little room, and in a file alone."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.numpy import load_file

from lora_nb.config import TrainConfig, load
from lora_nb.runs import launch
from lora_nb.runs.export_events import Fidelity
from tests.browser.keys import button, live, press, record_of, type_into
from tests.browser.lab import Lab
from tests.browser.notebook import Notebook
from tests.browser.test_record import as_if_sent, nothing_ran
from tests.browser.test_studio import GONE
from tests.tiny import ROOT

pytestmark = pytest.mark.browser

STUDIO = "%lora_studio --model model --data data --batch-size 2 --val-batches 1"
TABS = ("Data", "Train", "Watch", "Playground", "Fuse")
SHIPPED = ROOT / "notebooks" / "06_panels.ipynb"


def test_from_the_form_to_a_fused_model_by_keyboard(lab: Lab) -> None:
    notebook = lab.open_cells("%lora_studio --batch-size 2 --val-batches 1")
    notebook.run_all()
    type_into(notebook, "Model", "model")
    type_into(notebook, "Data", "data")
    press(notebook, "Train")
    type_into(notebook, "iters", "4")
    press(notebook, "Start training")
    trained = lab.wait_for_step(notebook, 4, 120)
    notebook.wait_for("the end of the training", lambda: trained.status == "completed")

    press(notebook, "Fuse")
    type_into(notebook, "save_path", "my model")
    # The tab has the same name as the button on it.
    press(notebook, "Fuse", nth=1)
    panel = live(notebook)
    panel.get_by_text("base and adapter").first.wait_for(timeout=120_000)
    run = lab.run_folder()
    notebook.wait_for("the end of the fusing", lambda: run.status == "completed")
    panel.get_by_text("completed", exact=False).locator("visible=true").first.wait_for()

    assert run.config_items()["save_path"] == "my model"
    assert [record.event.rows for record in run.records() if isinstance(record.event, Fidelity)]
    fused = lab.folder / "my model"
    assert json.loads((fused / "config.json").read_text())["model_type"] == "llama"
    assert load_file(fused / "model.safetensors")
    assert panel.locator(".lora-nb-error").count() == 0
    kept = "fuse, completed"
    notebook.wait_for("the record", lambda: kept in notebook.outputs(1)[1].data["text/html"], 30)
    assert notebook.problems == []
    assert [url for url in notebook.requests if lab.is_foreign(url)] == []


def test_tab_offers_magics_and_runs(lab: Lab) -> None:
    notebook = lab.open_cells()
    notebook.run_all()
    offered = notebook.complete("%lora_st")
    assert {"%lora_stop", "%lora_studio"} <= set(offered)
    assert all(name.startswith("%lora_st") for name in offered)
    assert notebook.complete("%lora_stu") == ["%lora_studio"]
    config = load(TrainConfig, flags={"model": "model", "data": "data", "name": "night"})
    run = launch.create(config, lab.folder / "runs")
    # JupyterLab adds words of the cell.
    assert {run.name, "latest"} <= set(notebook.complete("%lora_attach "))
    assert notebook.complete("%lora_stop la") == ["latest"]
    assert notebook.problems == []


def sticking_out(notebook: Notebook) -> list[str]:
    """What of the panel can be used, and lies beside its cell's output at least in part."""
    found: list[str] = live(notebook).evaluate(
        """panel => {
            const room = panel.closest('.jp-OutputArea').getBoundingClientRect();
            return [...panel.querySelectorAll('button, input, select, textarea, img')]
                .map(each => [each, each.getBoundingClientRect()])
                .filter(([, box]) => box.width && box.height)
                .filter(([, box]) => box.left < room.left - 1 || box.right > room.right + 1)
                .map(([each]) => each.title || each.textContent || each.tagName);
        }"""
    )
    return found


def test_every_tab_fits_into_800_pixels(lab: Lab) -> None:
    notebook = lab.open_cells(STUDIO)
    notebook.page.set_viewport_size({"width": 800, "height": 900})
    notebook.toggle_files()
    notebook.run_all()
    for tab in TABS:
        press(notebook, tab)
        place = {"Data": "Next row", "Train": "Start training", "Watch": "Refresh"}
        button(notebook, place.get(tab, "Stop")).wait_for()
        assert sticking_out(notebook) == [], tab
    room = live(notebook).evaluate("e => e.closest('.jp-OutputArea').clientWidth")
    assert 500 < room < 800
    button(notebook, "Data").evaluate("tab => { tab.style.minWidth = '900px'; }")
    assert sticking_out(notebook) != []
    assert notebook.problems == []


def test_the_notebook_about_panels_is_readable_without_a_kernel(lab: Lab) -> None:
    path = lab.folder / "06.ipynb"
    shutil.copy(SHIPPED, path)
    notebook = json.loads(SHIPPED.read_text())
    # Views without their kernel are dead weight, a megabyte of it.
    assert "widgets" not in notebook["metadata"]
    shown = [n for n, cell in enumerate(notebook["cells"]) if "lora-nb-record" in json.dumps(cell)]
    assert len(shown) == 6
    reader = lab.open(as_if_sent(path), kernel=False)
    for cell in shown:
        record_of(reader, cell).wait_for(state="visible")
        area = reader.element(cell).locator(".jp-Cell-outputArea")
        text = area.inner_text()
        for lost in (GONE, "Loading widget", "<lora_nb"):
            assert lost not in text
        assert len(text) > 50
        for picture in area.locator("img").all():
            assert picture.evaluate("img => img.complete && img.naturalWidth") > 500
            assert picture.get_attribute("alt")
    nothing_ran(reader)
    assert [url for url in reader.requests if lab.is_foreign(url)] == []
    assert reader.problems == []
