"""The whole way: the file, its checks, and a Modelfile beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_nb.config import ModelOptions
from lora_nb.core.load import load_words
from lora_nb.errors import LoraError
from lora_nb.export.gguf.check import check_gguf
from lora_nb.export.gguf.ollama import write_modelfile
from lora_nb.export.gguf.source import read_source
from lora_nb.export.gguf.vocabulary import vocabulary_of
from lora_nb.export.gguf.write import Tick, check_place, write_gguf
from lora_nb.runs.gguf import GgufReport

__all__ = ["check_wanted", "export_file", "place_in"]


def place_in(folder: Path, name: str) -> Path:
    """The file that an option names, inside a folder. Raises LoraError if it lies elsewhere."""
    inside = Path(name)
    if inside.is_absolute() or ".." in inside.parts or name.startswith("~"):
        raise LoraError(
            f"gguf_path: '{name}' lies outside of save_path ({folder}). Give a name inside of it; "
            "lora_nb.export_gguf(model, out) writes to any place."
        )
    out = folder / inside
    check_place(out)
    return out


def check_wanted(base: Path, folder: Path, name: str, *, dequantize: bool) -> Path:
    """Where the file of a model that is made of `base` is to be, before anything is written.

    Raises LoraError if the file could not be written later.
    """
    out = place_in(folder, name)
    source = read_source(base, packed=dequantize)
    vocabulary_of(source)
    return out


def export_file(
    folder: Path, out: Path, kind: str = "f16", *, tick: Tick = lambda done, total: None
) -> GgufReport:
    """Write a GGUF file and its Modelfile, and check it by whatever is installed.

    Raises LoraError if it can't be written, or if llama.cpp has other results.
    """
    report = write_gguf(folder, out, kind=kind, tick=tick)
    checked = check_gguf(out, folder, kind=kind)
    report.checks = checked.checks
    report.notes += checked.notes
    modelfile = write_modelfile(out, _stops(folder))
    report.modelfile = str(modelfile) if modelfile else ""
    return report


def _stops(folder: Path) -> list[str]:
    """The texts of the tokens that end an answer."""
    words: Any = load_words(folder, ModelOptions(model=str(folder)))
    return [str(words.convert_ids_to_tokens(number)) for number in sorted(words.eos_token_ids)]
