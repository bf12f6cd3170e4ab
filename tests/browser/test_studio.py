"""The studio by mouse and keyboard, and what a saved notebook keeps of panels."""

from __future__ import annotations

import json

import pytest

from tests.browser.keys import live, press, record_of, type_into
from tests.browser.lab import Lab
from tests.browser.notebook import Notebook
from tests.browser.test_record import HOSTILE, as_if_sent, nothing_ran

pytestmark = pytest.mark.browser

GONE = "model not found"
ROWS = [
    {"prompt": HOSTILE, "completion": f"SELECT {HOSTILE}\n  $$x$$"},
    {"prompt": HOSTILE, "completion": HOSTILE, HOSTILE: HOSTILE},
    {HOSTILE: HOSTILE},
]
EXPLORER = """from lora_nb_widgets import DatasetExplorer
DatasetExplorer("data", "model", mask_prompt=True)"""


def shows_record_only(notebook: Notebook, *words: str) -> None:
    """The record stands there with its picture, and nothing of a view that is gone."""
    record = record_of(notebook)
    record.wait_for(state="visible")
    text = notebook.element(1).locator(".jp-Cell-outputArea").inner_text()
    for word in words:
        assert word in text
    for lost in (GONE, "Loading widget", "<lora_nb"):
        assert lost not in text
    picture = record.locator("img").first
    assert picture.evaluate("img => img.complete && img.naturalWidth") > 500
    assert notebook.element(1).locator(".lora-nb-panel").count() == 0


def test_from_the_form_to_a_trained_run_by_keyboard(lab: Lab) -> None:
    notebook = lab.open_cells("%lora_studio")
    notebook.run_all()
    panel = live(notebook)
    assert record_of(notebook).is_hidden()
    page = notebook.page

    # From the inputs to the tabs, and to the second of them.
    panel.get_by_label("Data", exact=True).first.focus()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    panel.get_by_label("iters", exact=True).wait_for()

    type_into(notebook, "iters", "abc")
    problem = panel.locator(".lora-nb-error").get_by_text("--iters: 'abc' is not a whole number.")
    problem.first.wait_for()
    press(notebook, "Start training")
    notebook.wait_for("the error above the tabs", lambda: problem.count() == 2, 20)
    type_into(notebook, "iters", "6")
    notebook.wait_for("no problem any more", lambda: problem.count() == 0, 20)
    press(notebook, "Evaluation", fold=True)
    type_into(notebook, "val_batches", "1")
    press(notebook, "Start training")

    run = lab.wait_for_step(notebook, 5, 120)
    notebook.wait_for("its end", lambda: run.status == "completed", 60)
    watched = panel.get_by_text("completed").first
    watched.wait_for()
    assert run.config_items()["iters"] == "6"
    for tab in ("Playground", "Fuse", "Watch"):
        press(notebook, tab)
        page.wait_for_timeout(500)
    assert panel.locator(".lora-nb-error").count() == 0

    text = "train, completed"
    notebook.wait_for("the record", lambda: text in notebook.outputs(1)[1].data["text/html"], 30)
    assert [output.text for output in notebook.outputs(1)] == [
        "<lora_nb Studio>",
        "<lora_nb Studio> record",
    ]
    assert notebook.problems == []
    notebook.save()

    notebook.reload()
    assert live(notebook).get_by_role("button", name="Watch", exact=True).is_visible()
    assert record_of(notebook).is_hidden()
    assert notebook.problems == []

    reader = lab.open(as_if_sent(notebook.path), kernel=False)
    shows_record_only(reader, text, "steps\t6")
    assert reader.problems == []

    notebook.restart_kernel()
    notebook.reload()
    shows_record_only(notebook, text, "steps\t6")
    # Jupyter's own words for a view whose kernel is gone.
    assert [each for each in notebook.problems if "widget model not found" not in each] == []


def test_hostile_rows_in_the_explorer_stay_text(lab: Lab) -> None:
    path = lab.folder / "data" / "train.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS) + path.read_text())
    notebook = lab.open_cells(EXPLORER)
    notebook.run_all()
    panel = live(notebook)
    panel.locator("td").get_by_text(HOSTILE[:20]).first.wait_for()
    type_into(notebook, "Search", HOSTILE)
    panel.get_by_text(f"3 rows of train with '{HOSTILE}'").wait_for()
    type_into(notebook, "Row", "1")
    panel.get_by_text("train row 1 (train.jsonl:2)").wait_for(timeout=60_000)
    press(notebook, "Findings and figures", fold=True)
    panel.get_by_text("The rows in figures").wait_for()
    type_into(notebook, "Row", HOSTILE)
    panel.locator(".lora-nb-error").get_by_text(HOSTILE).wait_for()
    nothing_ran(notebook)
    kept = "train row 1 (train.jsonl:2)"
    notebook.wait_for("the record", lambda: kept in notebook.outputs(1)[1].data["text/html"], 30)
    assert notebook.problems == []
    notebook.save()

    reader = lab.open(as_if_sent(notebook.path), kernel=False)
    shows_record_only(reader, "The rows in figures", kept)
    nothing_ran(reader)
    assert reader.problems == []
