"""Which tensor of the model becomes which tensor of the file, and what is done to it on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import mlx.core as mx

from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError, listed
from lora_nb.export.gguf.source import Source

__all__ = ["Tensor", "planned", "read_weights"]

_NOT_TEXT = ("vision_tower.", "vision_model.", "multi_modal_projector.", "model.vision_tower.")
_EXPERT = re.compile(r"model\.layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.(w1|w2|w3)\.weight$")
_STACK = re.compile(
    r"model\.layers\.(\d+)\.(?:block_sparse_moe\.switch_mlp|mlp\.switch_mlp)"
    r"\.(gate|up|down)_proj\.weight$"
)
_JOINED = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(gate_up|down)_proj$")
_PARTS = {"w1": "gate", "w2": "down", "w3": "up"}
# The sizes of which llama.cpp takes another number to scale attention by, by their blocks.
_LARGE = {"gemma2": 46, "gemma3_text": 62}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: its shape, and `read`, which computes it and forgets the source."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], mx.array]

    @property
    def plain(self) -> bool:
        """Whether it stays fp32: norms, biases, routers and tables of positions."""
        return len(self.shape) < 2 or "ffn_gate_inp" in self.name


def read_weights(folder: Path) -> Weights:
    """The tensors of a model folder, none of them read yet. Raises LoraError if damaged."""
    weights: Weights = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            loaded = mx.load(str(file))
        except (RuntimeError, ValueError) as problem:
            raise LoraError(f"gguf: {file} can't be read: {problem}.") from None
        assert isinstance(loaded, dict)
        weights |= loaded
    packed = [
        name for name, weight in weights.items() if not mx.issubdtype(weight.dtype, mx.floating)
    ]
    if packed or any(name.endswith(".scales") for name in weights):
        raise LoraError(
            f"gguf: the weights in {folder} are quantised. Fuse with --dequantize first."
        )
    return weights


def planned(source: Source, weights: Weights) -> list[Tensor]:
    """The tensors of the file in the order of the model.

    Raises LoraError if some have no place in llama.cpp's model, or are missing.
    """
    arch = gguf.MODEL_ARCH[source.family.arch]
    table = gguf.get_tensor_name_map(arch, source.blocks)
    tensors: list[Tensor] = []
    unknown: list[str] = []
    named = dict(_text_only(source, weights))
    for name, tensor in _experts(named):
        known = name if name.startswith("blk.") else table.get_name(name, (".weight", ".bias"))
        if known is None:
            unknown.append(name)
            continue
        tensors.append(Tensor(known, tensor.shape, _changed(source, known, tensor)))
    if unknown:
        raise listed(f"gguf: llama.cpp's {source.name} has no place for {n}." for n in unknown[:8])
    _check_complete(source, tensors)
    return sorted(tensors, key=_place)


def _text_only(source: Source, weights: Weights) -> Iterator[tuple[str, mx.array]]:
    """The text model's tensors under its own names, without a head that is that of the input."""
    tied = bool(source.config.get("tie_word_embeddings"))
    if source.said.get("tie_word_embeddings") is None and any("lm_head" in n for n in weights):
        tied = False
    for name in list(weights):
        short = name.removeprefix("language_model.").replace("model.language_model.", "model.", 1)
        useless = short.endswith("rotary_emb.inv_freq") or short.startswith(_NOT_TEXT)
        if not useless and not (tied and short.startswith("lm_head.")):
            yield short, weights.pop(name)


def _experts(named: Weights) -> Iterator[tuple[str, Tensor]]:
    """The tensors by name, the experts of a block stacked."""
    stacks: dict[str, dict[int, mx.array]] = {}
    for name in list(named):
        weight = named.pop(name)
        if found := _EXPERT.match(name):
            block, number, part = found.groups()
            stack = stacks.setdefault(f"blk.{block}.ffn_{_PARTS[part]}_exps.weight", {})
            stack[int(number)] = weight
        elif found := _STACK.match(name):
            yield _held(f"blk.{found[1]}.ffn_{found[2]}_exps.weight", weight)
        elif (found := _JOINED.match(name)) and found[2] == "down":
            yield _held(f"blk.{found[1]}.ffn_down_exps.weight", weight)
        elif found:
            half = weight.shape[1] // 2
            yield _held(f"blk.{found[1]}.ffn_gate_exps.weight", weight[:, :half])
            yield _held(f"blk.{found[1]}.ffn_up_exps.weight", weight[:, half:])
        else:
            yield _held(name, weight)
    for name, stack in stacks.items():
        if sorted(stack) != list(range(len(stack))):
            raise LoraError(f"gguf: experts of {name} are missing.")
        yield _held(name, *(stack[number] for number in range(len(stack))))


def _held(name: str, *weights: mx.array) -> tuple[str, Tensor]:
    """A tensor that lets go of its source when it is read."""
    held = list(weights)
    shape = tuple(weights[0].shape) if len(weights) == 1 else (len(weights), *weights[0].shape)

    def read() -> mx.array:
        made = held[0] if len(held) == 1 else mx.stack(held)
        held.clear()
        return made

    return name, Tensor(name, shape, read)


def _changed(source: Source, name: str, tensor: Tensor) -> Callable[[], mx.array]:
    """How a tensor is read, with what llama.cpp's model wants done to it."""
    family, read = source.family, tensor.read
    queries, keys = source.heads
    turned = {"attn_q": queries, "attn_k": keys}
    layer = name.rsplit(".", 1)[0].rsplit(".", 1)[-1]
    if family.interleaved and layer in turned:
        return lambda: _interleaved(read(), turned[layer])
    factor = _attention_factor(source)
    if name.endswith("norm.weight") and family.norm_plus:
        by = factor if layer == "attn_q_norm" else 1.0
        return lambda: (read().astype(mx.float32) + family.norm_plus) * by
    if layer == "attn_q" and source.name == "gemma2" and factor != 1:
        return lambda: read().astype(mx.float32) * factor
    return read


def _interleaved(weight: mx.array, heads: int) -> mx.array:
    """Rows of each head from (first half, second half) to pairs of one of each."""
    rows = weight.shape[0]
    halves = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _attention_factor(source: Source) -> float:
    """What queries are multiplied by, as llama.cpp scales attention by the width of a head."""
    wanted = source.config.get("query_pre_attn_scalar")
    if source.name not in _LARGE or not wanted:
        return 1.0
    taken = source.head_dim
    if source.blocks == _LARGE[source.name]:
        taken = source.config["hidden_size"] // source.heads[0]
    return math.sqrt(taken / float(wanted))


def _check_complete(source: Source, tensors: list[Tensor]) -> None:
    """Each block has the tensors of the first, and the model its ends."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    if len(shapes) != len(tensors):
        raise LoraError("gguf: two tensors of the model have one place in llama.cpp's.")
    first = [name.removeprefix("blk.0.") for name in shapes if name.startswith("blk.0.")]
    wanted = [f"blk.{block}.{name}" for block in range(source.blocks) for name in first]
    missing = [name for name in ("token_embd.weight", *wanted) if name not in shapes]
    if source.said.get("tie_word_embeddings") is False and "output.weight" not in shapes:
        missing.append("output.weight")
    if missing or not first:
        raise LoraError(f"gguf: the model lacks {', '.join(missing[:8]) or 'its blocks'}.")
    size = int(source.config["vocab_size"])
    if shapes["token_embd.weight"][0] != size:
        rows = shapes["token_embd.weight"][0]
        raise LoraError(f"gguf: the config says {size} tokens, but the model has {rows}.")


def _place(tensor: Tensor) -> tuple[int, int]:
    if tensor.name.startswith("blk."):
        return 1, int(tensor.name.split(".")[1])
    return (0 if tensor.name.startswith(("token_embd", "rope")) else 2), 0
