"""GGUF: a model folder as one file that llama.cpp and Ollama read."""

from __future__ import annotations

from lora_nb.errors import LoraError

try:
    from lora_nb.export.gguf.check import check_gguf
    from lora_nb.export.gguf.export import check_wanted, export_file
    from lora_nb.export.gguf.write import write_gguf
except ModuleNotFoundError as problem:
    if problem.name != "gguf":
        raise
    raise LoraError("gguf: the package gguf is needed: pip install 'lora-nb[gguf]'.") from None

__all__ = ["check_gguf", "check_wanted", "export_file", "write_gguf"]
