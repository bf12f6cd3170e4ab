"""A look at data in a real kernel: the same outputs whether tokens are counted or remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat as untyped
from nbclient import NotebookClient

from tests.tiny import ROOT

nbformat: Any = untyped
_MODULES = "{name.split('.')[0] for name in sys.modules} & {'mlx', 'mlx_lm', 'transformers'}"


def test_a_second_look_shows_the_same(messy: Path, model: Path, tmp_path: Path) -> None:
    line = f"%lora_data {messy} --model {model} --mask-prompt"
    place = tmp_path / "kernel"
    cells = [
        f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(ROOT)!r})",
        "%load_ext lora_nb\nfrom lora_nb.dataset import cache",
        f"cache.folder = lambda: Path({str(place)!r})",
        line,
        line,
        f"report = {line}\nlen(list((cache.folder() / 'reports').iterdir()))",
        "report",
        _MODULES,
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(made, timeout=120, kernel_name="python3").execute()
    *_, counted, remembered, quiet, again, modules = ([*cell.outputs] for cell in made.cells)

    assert [output.output_type for output in counted] == ["display_data", "execute_result"]
    picture, report = counted
    assert picture.data["text/plain"] == "<lora_nb data>"
    assert picture.metadata["image/png"]["alt"].startswith("Histogram of row lengths in tokens.")
    assert "<img" not in report.data["text/html"], "the picture is there already"
    assert [output.data for output in remembered] == [output.data for output in counted]

    assert [output.output_type for output in quiet] == ["display_data", "execute_result"]
    assert quiet[1].data["text/plain"] == "1"
    assert quiet[0].data == picture.data
    assert again[0].data["text/plain"] == report.data["text/plain"]
    assert "<img" in again[0].data["text/html"]
    assert again[0].data["image/png"].strip() == picture.data["image/png"].strip()
    assert modules[0].data["text/plain"] == "set()"
