"""Write a model folder as one GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import gguf
import mlx.core as mx
import numpy as np

from lora_nb.core.trees import value_of
from lora_nb.errors import LoraError
from lora_nb.export.gguf.metadata import add_metadata, position_tables
from lora_nb.export.gguf.names import Tensor, planned, read_weights
from lora_nb.export.gguf.source import Source, read_source
from lora_nb.export.gguf.vocabulary import Vocabulary, add_vocabulary, vocabulary_of
from lora_nb.runs.gguf import GgufReport
from lora_nb.runs.part import part_file
from lora_nb.runs.whole_file import sync_file, sync_folder

__all__ = ["Kind", "check_place", "write_gguf"]

Kind = Literal["f16", "f32", "bf16", "q8_0"]
Tick = Callable[[int, int], None]
Array = np.ndarray[Any, np.dtype[Any]]

_MAGIC = b"GGUF"
_BLOCK = 32
_LARGEST_F16 = 65504.0
_TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def write_gguf(
    model_folder: Path, out: Path, *, kind: str = "f16", tick: Tick = lambda done, total: None
) -> GgufReport:
    """Write the model in a folder as `out`, whole or not at all.

    `tick(done, total)` is called after each tensor, and may raise to give up. Matrices get the
    type `kind`, everything else is fp32. Raises LoraError for what llama.cpp can't read or would
    compute wrongly, before anything is written.
    """
    if kind not in get_args(Kind):
        raise LoraError(f"gguf: the type is one of {', '.join(get_args(Kind))}, not '{kind}'.")
    check_place(out)
    folder = Path(model_folder).expanduser()
    source = read_source(folder)
    words = vocabulary_of(source)
    tensors = [*position_tables(source), *planned(source, read_weights(folder))]
    try:
        with part_file(out) as part:
            writer = _described(part, source, words, tensors, kind)
            try:
                _write(writer, tensors, kind, tick)
            finally:
                writer.close()
            sync_file(part)
            part.replace(out)
            sync_folder(out.parent)
    except OSError as problem:
        raise LoraError(f"gguf: {out} can't be written: {problem}.") from problem
    return GgufReport(
        path=str(out),
        kind=kind,
        family=source.name,
        tensors=len(tensors),
        vocabulary=len(words.tokens),
        size=out.stat().st_size,
        notes=[*source.notes, *words.notes],
    )


def _described(
    part: Path, source: Source, words: Vocabulary, tensors: list[Tensor], kind: str
) -> gguf.GGUFWriter:
    """A writer that knows everything but the numbers of the tensors."""
    writer = gguf.GGUFWriter(part, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[source.family.arch]])
    add_metadata(writer, source, kind)
    add_vocabulary(writer, words)
    for tensor in tensors:
        stored = _stored(tensor, kind)
        size = _bytes_of(tensor.shape, stored)
        # Types that numpy lacks are told apart by the last argument alone.
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, stored)
    return writer


def check_place(out: Path) -> None:
    """Raise LoraError unless a GGUF file may be written there."""
    if out.suffix != ".gguf":
        raise LoraError(f"gguf: {out} should end in .gguf.")
    if out.is_dir():
        raise LoraError(f"gguf: {out} is a folder. Name a file.")
    if out.exists():
        with out.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise LoraError(f"gguf: {out} is there already, and is no GGUF file. Name another.")


def _write(writer: gguf.GGUFWriter, tensors: list[Tensor], kind: str, tick: Tick) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, tensor in enumerate(tensors, 1):
        writer.write_tensor_data(_data(tensor, _stored(tensor, kind)))
        mx.clear_cache()
        tick(done, len(tensors))
    writer.flush()


def _stored(tensor: Tensor, kind: str) -> gguf.GGMLQuantizationType:
    if tensor.plain:
        return gguf.GGMLQuantizationType.F32
    if kind == "q8_0" and tensor.shape[-1] % _BLOCK:
        return gguf.GGMLQuantizationType.F16
    return _TYPES[kind]


def _bytes_of(shape: tuple[int, ...], stored: gguf.GGMLQuantizationType) -> int:
    block, size = gguf.GGML_QUANT_SIZES[stored]
    return int(np.prod(shape)) // block * size


def _data(tensor: Tensor, stored: gguf.GGMLQuantizationType) -> Array:
    """The numbers of a tensor as they stand in the file."""
    weight = tensor.read()
    if stored == gguf.GGMLQuantizationType.BF16:
        return np.array(mx.contiguous(weight.astype(mx.bfloat16)).view(mx.uint16))
    if stored == gguf.GGMLQuantizationType.F16:
        if weight.dtype != mx.float16 and value_of(mx.abs(weight).max()) > _LARGEST_F16:
            raise LoraError(
                f"gguf: {tensor.name} has numbers too large for f16. Export it as bf16 or f32."
            )
        return np.array(weight.astype(mx.float16))
    numbers: Array = np.array(weight.astype(mx.float32))
    if stored == gguf.GGMLQuantizationType.Q8_0:
        numbers = gguf.quants.quantize(numbers, stored)
    return numbers
