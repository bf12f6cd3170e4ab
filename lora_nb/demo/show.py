"""Run the quickstart notebook from a terminal and show what came of it (`make demo`)."""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from lora_nb.runs.folder import RunFolder

__all__ = ["main"]

_NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "01_quickstart.ipynb"
_OUTPUT = Path("build") / "demo"


def main() -> int:
    """Execute the notebook into build/demo/ and print its texts; returns the exit status."""
    import nbformat

    if not _NOTEBOOK.is_file():
        print(f"{_NOTEBOOK} is missing: run this in a checkout of the project.", file=sys.stderr)
        return 1
    output = _OUTPUT.absolute()
    output.mkdir(parents=True, exist_ok=True)
    os.environ["LORA_NB_RUNS"] = str(output / "runs")
    read: Callable[..., Any] = nbformat.read
    write: Callable[..., None] = nbformat.write
    notebook = read(_NOTEBOOK, as_version=4)
    started = time.monotonic()
    try:
        _execute(notebook, output)
    except LoraError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    finally:
        write(notebook, output / _NOTEBOOK.name)
    pictures = list(_save_pictures(notebook, output))
    print(f"\nDone in {time.monotonic() - started:.0f} s.")
    for picture in pictures:
        print(f"  picture   {picture}")
    print(f"  notebook  {output / _NOTEBOOK.name}")
    print(f"  adapter   {output / 'adapters'}")
    return 0


def _execute(notebook: Any, folder: Path) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    def before(cell: Any, **_: object) -> None:
        if cell.cell_type == "code":
            lines = "\n".join(f"  | {line}" for line in cell.source.splitlines())
            print(f"\n{lines}", flush=True)

    def after(cell: Any, **_: object) -> None:
        for text in _texts(cell):
            print(text, flush=True)

    client = NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=before,
        on_cell_executed=after,
    )
    over = threading.Event()
    watcher = threading.Thread(target=_tell_runs, args=(folder / "runs", over), daemon=True)
    watcher.start()
    try:
        client.execute()
    except CellExecutionError as problem:
        raise LoraError(f"{problem.ename}: {problem.evalue}") from None
    finally:
        over.set()
        watcher.join()


def _texts(cell: Any) -> Iterator[str]:
    """What a cell shows as text; placeholders of pictures are left out."""
    for output in cell.get("outputs", ()):
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if text.strip() and not text.startswith("<"):
            yield text.rstrip()


def _tell_runs(runs: Path, over: threading.Event) -> None:
    """Print a line for every report of each run that begins."""
    from lora_nb.runs import store

    seen = {run.name for run in store.all_runs(runs)}
    while not over.wait(0.2):
        for run in store.all_runs(runs):
            if run.name not in seen:
                seen.add(run.name)
                _tell(run)


def _tell(run: RunFolder) -> None:
    from lora_nb.display import progress_line
    from lora_nb.runs.attach import follow
    from lora_nb.runs.events import Ended, Record, TestLoss, TrainLoss

    records: list[Record] = []
    for record in follow(run):
        records.append(record)
        ended = isinstance(record.event, Ended)
        if ended or isinstance(record.event, TrainLoss | TestLoss):
            status = run.status if ended else "running"
            print(f"    {progress_line(records, status)}", flush=True)


def _save_pictures(notebook: Any, folder: Path) -> Iterator[Path]:
    number = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture:
                number += 1
                path = folder / f"picture-{number}.png"
                path.write_bytes(base64.b64decode(picture))
                yield path


if __name__ == "__main__":
    sys.exit(main())
