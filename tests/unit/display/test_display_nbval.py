"""A notebook that was run agrees with a second run, and a changed text is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat as untyped
import pytest
from nbclient import NotebookClient

nbformat: Any = untyped
ROOT = Path(__file__).parents[3]
SETUP = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.unit.display.made import View, finished
from lora_nb.display import StreamView, mimebundle, monitor, watch
from lora_nb.errors import LoraError
"""
LIVE = """
records = watch("runs/demo", (time.sleep(0.03) or r for r in finished()),
                on_interrupt=print, status=lambda: "completed")
len(records)
"""
ONE = """
view = StreamView()
for piece in ["The answer ", "is <b>42</b>", ".\\n\\nReally."]:
    view.feed("", piece)
    time.sleep(0.15)
_ = view.close({"tokens/s": str(time.time())})
"""
TWO = """
view = StreamView(["base", "adapter"])
for piece in ["one ", "two ", "three"]:
    for label in ["base", "adapter"]:
        view.feed(label, piece)
        time.sleep(0.15)
print("before")
_ = view.close({"tokens/s": str(time.time())})
"""
SIDE = """
monitor("runs/demo", lambda *, idle: iter(finished()), lambda: "completed").join()
"""
RESULT = """
class Run:
    def _repr_mimebundle_(self, **asked):
        return mimebundle(View())
Run()
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An executed notebook."""
    cells = [nbformat.v4.new_code_cell(code) for code in (SETUP, LIVE, ONE, TWO, SIDE, RESULT)]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python",
        "language": "python",
    }
    NotebookClient(made, timeout=60).execute()
    path = tmp_path_factory.mktemp("nbval") / "made.ipynb"
    nbformat.write(made, path)
    return path


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--nbval", "--nbval-current-env"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, f"--rootdir={path.parent}", str(path)],
        cwd=path.parent,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def outputs(path: Path, cell: int) -> list[Any]:
    return list(nbformat.read(path, as_version=4).cells[cell].outputs)


def test_what_the_notebook_keeps(notebook: Path) -> None:
    (picture, _) = outputs(notebook, 1)
    assert picture.data["text/plain"] == "<lora_nb run>"
    assert len(picture.data["image/png"]) > 5000
    stream, text = outputs(notebook, 2)
    assert stream.data["text/html"] == "<div></div>"
    assert text.data["text/plain"] == "The answer is <b>42</b>.\n\nReally."
    assert "&lt;b&gt;42" in text.data["text/html"]
    kinds = [out.output_type for out in outputs(notebook, 3)]
    assert kinds == ["display_data", "stream", "display_data"]


def test_a_second_run_agrees_and_changed_texts_do_not(notebook: Path, tmp_path: Path) -> None:
    again = nbval(notebook)
    assert again.returncode == 0, again.stdout
    assert "6 passed" in again.stdout

    changed = nbformat.read(notebook, as_version=4)
    changed.cells[1].outputs[0].data["text/plain"] = "<lora_nb run 2>"
    one, two = changed.cells[2].outputs[-1].data, changed.cells[3].outputs[-1].data
    one["text/plain"] = one["text/plain"].replace("42", "43")
    two["text/html"] = two["text/html"].replace("three", "four")
    result = changed.cells[5].outputs[-1].data
    result["text/plain"] = result["text/plain"].replace("0.034", "0.035")
    path = tmp_path / "changed.ipynb"
    nbformat.write(changed, path)
    found = nbval(path)
    assert "4 failed, 2 passed" in found.stdout, found.stdout
