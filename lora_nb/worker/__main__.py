"""Start of a worker process: `python -m lora_nb.worker RUN`, or `--engine`."""

from __future__ import annotations

import sys
from pathlib import Path

from lora_nb.errors import LoraError
from lora_nb.runs.folder import RunFolder
from lora_nb.worker.output import clean_output


def main(arguments: list[str]) -> int:
    """Do the work of a run folder, or serve generations; returns the exit status."""
    clean_output()
    if arguments == ["--engine"]:
        from lora_nb.worker.engine import serve

        return serve()
    if len(arguments) != 1:
        print("usage: python -m lora_nb.worker RUN | --engine", file=sys.stderr)
        return 2
    from lora_nb.worker.session import work

    try:
        return work(RunFolder(Path(arguments[0])))
    except LoraError as problem:
        print(f"lora_nb: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
