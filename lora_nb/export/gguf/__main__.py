"""`python -m lora_nb.export.gguf MODEL OUT KIND`: write a GGUF file, check it, and report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lora_nb.core.load import find_model
from lora_nb.errors import LoraError
from lora_nb.export.gguf import export_file
from lora_nb.runs.gguf import MARK

__all__ = ["main"]


def main() -> None:
    """Do what the arguments say; the answer is one line of JSON after a mark."""
    model, out, kind = sys.argv[1:]
    try:
        report = export_file(find_model(model), Path(out).expanduser().absolute(), kind)
    except LoraError as problem:
        answer = json.dumps({"problem": str(problem)})
    else:
        answer = report.as_json()
    sys.stdout.write(f"{MARK}{answer}\n")


if __name__ == "__main__":
    main()
