"""What a saved notebook shows to somebody else: no kernel, no trust, and nothing that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.lab import SHORT, Lab, nbformat
from tests.browser.notebook import Notebook

pytestmark = pytest.mark.browser

PROBE = "lora-nb-probe"
HOSTILE = f"<img src={PROBE} onerror=window.loraProbe=1;alert(1)>"
CELLS = [
    SHORT.replace("model model --data data", f"model 'model {HOSTILE}' --data 'data {HOSTILE}'")
    + " --iters 20",
    "%lora_attach",
    "%lora_runs",
    f"%lora_generate --compare --model 'model {HOSTILE}' --max-tokens 4 {HOSTILE}",
    f"from lora_nb.display import Generated; Generated({{{HOSTILE!r}: {HOSTILE!r}, 'b': 'c'}})",
]


def hostile_place(lab: Lab) -> None:
    """Give model, data and rows a text that would run if it were taken for HTML."""
    for name in ("model", "data"):
        (lab.folder / name).rename(lab.folder / f"{name} {HOSTILE}")
    row = json.dumps({"prompt": HOSTILE, "completion": HOSTILE})
    for path in (lab.folder / f"data {HOSTILE}").glob("*.jsonl"):
        path.write_text(f"{row}\n{row}\n{path.read_text()}")


def nothing_ran(notebook: Notebook) -> None:
    notebook.page.wait_for_timeout(500)
    assert notebook.dialogs == []
    assert [url for url in notebook.requests if PROBE in url] == []
    assert notebook.page.evaluate("window.loraProbe") is None


def as_if_sent(path: Path) -> Path:
    """A copy that names no kernel, and that this machine has not made and does not trust."""
    saved = nbformat.read(path, as_version=4)
    saved.metadata = {}
    saved.cells.append(nbformat.v4.new_markdown_cell("Have a look at this."))
    copy = path.with_name("sent.ipynb")
    nbformat.write(saved, copy)
    return copy


def test_a_saved_notebook_is_readable_and_harmless(lab: Lab) -> None:
    hostile_place(lab)
    notebook = lab.open_cells(*CELLS)
    notebook.run_all()
    shown = [output for cell in range(1, 6) for output in notebook.outputs(cell)]
    assert [output.text for output in shown if output.kind == "error"] == []
    assert HOSTILE in notebook.outputs(2)[0].text
    for cell in range(1, 6):
        notebook.element(cell)
    nothing_ran(notebook)
    assert notebook.problems == []
    notebook.save()

    reader = lab.open(as_if_sent(notebook.path), kernel=False)
    assert [output for cell in range(1, 6) for output in reader.outputs(cell)] == shown
    live, record, table, texts, side = (reader.element(cell) for cell in range(1, 6))
    for pictured in (live, record):
        picture = pictured.locator(".jp-OutputArea-output img")
        assert picture.count() == 1
        assert picture.evaluate("img => img.complete && img.naturalWidth") > 500
    assert HOSTILE in record.inner_text()
    assert "train, completed" in record.inner_text()
    assert table.locator(".jp-OutputArea-output tbody tr").count() == 1
    # The table cuts long cells to stay on the page.
    assert HOSTILE[:13] in table.inner_text()
    assert texts.locator(".jp-OutputArea-output th").all_inner_texts() == ["base", "adapter"]
    assert side.locator(".jp-OutputArea-output th").all_inner_texts() == [HOSTILE, "b"]
    assert side.locator(".jp-OutputArea-output td").all_inner_texts() == [HOSTILE, "c"]
    nothing_ran(reader)
    assert reader.problems == []
