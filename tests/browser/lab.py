"""A place for one test: a folder with a model and rows, and notebooks opened from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat as untyped
import psutil
from playwright.sync_api import BrowserContext

from lora_nb.runs import store
from lora_nb.runs.events import Started, TrainLoss
from lora_nb.runs.folder import RunFolder
from tests.browser.notebook import Notebook
from tests.browser.server import LabServer

__all__ = ["ENDLESS", "SHORT", "Lab", "last_step", "nbformat", "worker_of"]

nbformat: Any = untyped
_KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
_numbers = itertools.count(1)

_TRAIN = (
    "%lora_train --model model --data data --batch-size 2 --learning-rate 1e-3 --val-batches 2 "
    "--overwrite"
)
ENDLESS = f"{_TRAIN} --iters 1000000 --steps-per-report 5 --steps-per-eval 500 --save-every 20"
"""A training that only ends when it is ended."""
SHORT = f"{_TRAIN} --iters 200 --steps-per-report 5 --steps-per-eval 50 --save-every 100"
"""A training of a few seconds."""


class Lab:
    """The folder of one test on the server, and the tabs it opens."""

    def __init__(self, server: LabServer, context: BrowserContext, folder: Path) -> None:
        self.folder = folder
        self._server = server
        self._context = context

    def write(self, cells: Sequence[str], name: str = "notebook.ipynb") -> Path:
        """Write a notebook of code cells; return its path."""
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": _KERNEL},
        )
        path = self.folder / name
        nbformat.write(made, path)
        return path

    def open(self, path: Path, *, kernel: bool = True, busy: bool = False) -> Notebook:
        """Open a notebook in a new tab: `busy` if its kernel is at work and can't answer.

        To be opened without a kernel, it must name none.
        """
        notebook = Notebook(self._context.new_page(), path)
        notebook.go(self._server.address(path, f"w{next(_numbers)}"), kernel=kernel, busy=busy)
        return notebook

    def open_cells(self, *cells: str) -> Notebook:
        """Write a notebook that loads the extension and has these cells, and open it."""
        return self.open(self.write(["%load_ext lora_nb", *cells]))

    def run_folder(self) -> RunFolder:
        """The newest run."""
        return store.find("latest", self.folder / "runs")

    def wait_for_step(self, notebook: Notebook, step: int = 1, seconds: float = 60) -> RunFolder:
        """Wait until the newest run has reported a step that is not before `step`."""

        def reached() -> bool:
            runs = store.all_runs(self.folder / "runs")
            return bool(runs) and last_step(runs[0]) >= step

        notebook.wait_for(f"step {step}", reached, seconds)
        return self.run_folder()

    def is_foreign(self, address: str) -> bool:
        """Whether an address is neither the server's nor within the page."""
        inside = ("data:", "blob:", "about:", self._server.origin)
        return not address.startswith(inside)


def last_step(run: RunFolder) -> int:
    """The step of the newest training report, 0 before the first."""
    steps = [r.event.step for r in run.records() if isinstance(r.event, TrainLoss)]
    return steps[-1] if steps else 0


def worker_of(run: RunFolder) -> psutil.Process:
    """The process that works on a run."""
    pids = [r.event.pid for r in run.records() if isinstance(r.event, Started)]
    return psutil.Process(pids[-1])
