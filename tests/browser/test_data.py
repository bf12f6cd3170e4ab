"""What a look at data leaves in a notebook: readable without trust, and nothing that runs."""

from __future__ import annotations

import json

import pytest

from tests.browser.lab import Lab
from tests.browser.test_record import HOSTILE, as_if_sent, nothing_ran

pytestmark = pytest.mark.browser

ROWS = [
    {"prompt": HOSTILE, "completion": f"SELECT {HOSTILE}\n  $$x$$"},
    {"prompt": HOSTILE, "completion": HOSTILE, HOSTILE: HOSTILE},
    {HOSTILE: HOSTILE},
    {"messages": [{"role": HOSTILE, "content": HOSTILE}]},
]
CELLS = [
    "%lora_data data --model model --mask-prompt --max-seq-length 120",
    "report = %lora_data data\nreport",
    "%lora_data data --model model --row 0 --mask-prompt --max-seq-length 120",
]


def test_a_look_at_data_is_readable_and_harmless(lab: Lab) -> None:
    path = lab.folder / "data" / "train.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS) + path.read_text())
    notebook = lab.open_cells(*CELLS)
    notebook.run_all()
    shown = [output for cell in range(1, 4) for output in notebook.outputs(cell)]
    assert [output.kind for output in shown] == ["display_data", *["execute_result"] * 3]
    nothing_ran(notebook)
    assert notebook.problems == []
    notebook.save()

    reader = lab.open(as_if_sent(notebook.path), kernel=False)
    assert [output for cell in range(1, 4) for output in reader.outputs(cell)] == shown
    for cell in (1, 2):
        element = reader.element(cell)
        picture = element.locator(".jp-OutputArea-output img")
        assert picture.count() == 1
        assert picture.evaluate("img => img.complete && img.naturalWidth") > 500
        assert "✖ error" in element.inner_text()
        assert HOSTILE in element.inner_text()
        ground = element.locator("td b").first.evaluate("e => getComputedStyle(e).backgroundColor")
        assert ground == "rgb(179, 38, 30)"
    view = reader.element(3)
    trained = view.locator("pre u")
    assert HOSTILE in view.locator("pre").inner_text().replace("·", " ")
    assert trained.count() > 0
    assert trained.first.evaluate("e => getComputedStyle(e).backgroundColor") != "rgba(0, 0, 0, 0)"
    assert view.locator("pre [title]").count() > 100
    assert view.locator(".MathJax, mjx-container").count() == 0
    nothing_ran(reader)
    assert reader.problems == []
