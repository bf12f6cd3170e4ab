"""OLMo (the first), in Hugging Face's layout and in AI2's own.

mlx-lm's module of this name ends the process unless `ai2-olmo` (which brings PyTorch) is
installed, and computes wrongly if it is; this one takes its place in workers. Source of the
architecture: the OLMo paper (arXiv 2402.00838): a Llama with layer norms that have no parameters,
and clipped queries, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.activations import swiglu
from mlx_lm.models.base import (
    BaseModelArgs,
    create_attention_mask,
    scaled_dot_product_attention,
)
from mlx_lm.models.rope_utils import initialize_rope

from lora_nb.core.olmo_layout import is_ai2, translated
from lora_nb.core.trees import Weights

__all__ = ["Model", "ModelArgs"]

_EPS = 1e-5


@dataclass
class ModelArgs(BaseModelArgs):
    """The shape of the model, under Hugging Face's names."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    num_key_value_heads: int | None = None
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    clip_qkv: float | None = None

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> ModelArgs:
        """The shape from a config.json of either layout."""
        made: ModelArgs = super().from_dict(translated(params) if is_ai2(params) else params)
        return made


class Attention(nn.Module):
    """Attention with rotary positions and clipped projections."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        dim, self.n_heads = args.hidden_size, args.num_attention_heads
        self.n_kv_heads = args.num_key_value_heads or args.num_attention_heads
        head = args.head_dim
        self.scale = head**-0.5
        self.clip = args.clip_qkv
        self.q_proj = nn.Linear(dim, self.n_heads * head, bias=args.attention_bias)
        self.k_proj = nn.Linear(dim, self.n_kv_heads * head, bias=args.attention_bias)
        self.v_proj = nn.Linear(dim, self.n_kv_heads * head, bias=args.attention_bias)
        self.o_proj = nn.Linear(self.n_heads * head, dim, bias=args.attention_bias)
        self.rope = initialize_rope(
            head,
            args.rope_theta,
            traditional=False,
            scaling_config=args.rope_scaling,
            max_position_embeddings=args.max_position_embeddings,
        )

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        rows, length, _ = x.shape

        def heads(projected: mx.array, count: int) -> mx.array:
            if self.clip is not None:
                projected = mx.clip(projected, -self.clip, self.clip)
            return projected.reshape(rows, length, count, -1).transpose(0, 2, 1, 3)

        queries = heads(self.q_proj(x), self.n_heads)
        keys = heads(self.k_proj(x), self.n_kv_heads)
        values = heads(self.v_proj(x), self.n_kv_heads)
        offset = 0 if cache is None else cache.offset
        queries, keys = self.rope(queries, offset=offset), self.rope(keys, offset=offset)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        mixed = scaled_dot_product_attention(
            queries, keys, values, cache=cache, scale=self.scale, mask=mask
        )
        out: mx.array = self.o_proj(mixed.transpose(0, 2, 1, 3).reshape(rows, length, -1))
        return out


class MLP(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        dim, inner = args.hidden_size, args.intermediate_size
        self.gate_proj = nn.Linear(dim, inner, bias=False)
        self.up_proj = nn.Linear(dim, inner, bias=False)
        self.down_proj = nn.Linear(inner, dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        out: mx.array = self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))
        return out


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a norm without parameters."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.self_attn = Attention(args)
        self.mlp = MLP(args)

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        h = x + self.self_attn(_norm(x), mask, cache)
        return h + self.mlp(_norm(h))


def _norm(x: mx.array) -> mx.array:
    return mx.fast.layer_norm(x, None, None, _EPS)


class OlmoModel(nn.Module):
    """The blocks between embedding and head."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(args.vocab_size, args.hidden_size)
        self.layers = [TransformerBlock(args) for _ in range(args.num_hidden_layers)]

    def __call__(
        self, inputs: mx.array, cache: Any = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        h = self.embed_tokens(inputs) if input_embeddings is None else input_embeddings
        caches = cache or [None] * len(self.layers)
        mask = create_attention_mask(h, caches[0])
        for layer, layer_cache in zip(self.layers, caches, strict=True):
            h = layer(h, mask, layer_cache)
        return _norm(h)


class Model(nn.Module):
    """OLMo with its head."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.args = args
        self.model_type = args.model_type
        self.model = OlmoModel(args)
        if not args.tie_word_embeddings:
            self.lm_head = nn.Linear(args.hidden_size, args.vocab_size, bias=False)

    def __call__(
        self, inputs: mx.array, cache: Any = None, input_embeddings: mx.array | None = None
    ) -> mx.array:
        out = self.model(inputs, cache, input_embeddings)
        if self.args.tie_word_embeddings:
            tied: mx.array = self.model.embed_tokens.as_linear(out)
            return tied
        logits: mx.array = self.lm_head(out)
        return logits

    def sanitize(self, weights: Weights) -> Weights:
        """Weights under Hugging Face's names, without what belongs to no layer."""
        if any(".transformer." in f".{name}" for name in weights):
            pairs = (pair for item in weights.items() for pair in _renamed(*item, self.args))
            weights = dict(pairs)
        if self.args.tie_word_embeddings:
            weights = {k: v for k, v in weights.items() if not k.startswith("lm_head.")}
        return {k: v for k, v in weights.items() if not k.endswith("rotary_emb.inv_freq")}

    @property
    def layers(self) -> list[TransformerBlock]:
        """The blocks."""
        return self.model.layers


_WHOLE = {"attn_out": "self_attn.o_proj", "ff_out": "mlp.down_proj"}


def _stacked(layer: str, args: ModelArgs) -> dict[str, int]:
    """The layers that AI2 stacks on the output axis under one name, in order, with their sizes."""
    if layer == "ff_proj":
        return dict.fromkeys(("mlp.up_proj", "mlp.gate_proj"), args.intermediate_size)
    if layer != "att_proj":
        return {}
    few = (args.num_key_value_heads or args.num_attention_heads) * args.head_dim
    return {
        "self_attn.q_proj": args.hidden_size,
        "self_attn.k_proj": few,
        "self_attn.v_proj": few,
    }


def _renamed(name: str, weight: mx.array, args: ModelArgs) -> list[tuple[str, mx.array]]:
    """One of AI2's tensors as those of Hugging Face; quantised ones have scales and biases."""
    path = f".{name}".split(".transformer.", 1)[-1].split(".")
    if path[0] == "wte":
        return [(f"model.embed_tokens.{path[-1]}", weight)]
    if path[0] == "ff_out":
        return [(f"lm_head.{path[-1]}", weight)]
    if path[0] != "blocks" or len(path) != 4:
        return [(name, weight)]
    _, block, layer, kind = path
    if layer in _WHOLE:
        return [(f"model.layers.{block}.{_WHOLE[layer]}.{kind}", weight)]
    sizes = _stacked(layer, args)
    if not sizes:
        return [(name, weight)]
    ends = list(accumulate(sizes.values()))
    parts = mx.split(weight, ends[:-1], axis=0)
    return [
        (f"model.layers.{block}.{ours}.{kind}", part)
        for ours, part in zip(sizes, parts, strict=True)
    ]
