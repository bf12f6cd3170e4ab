"""OLMo (the first), in Hugging Face's layout and in AI2's own.

mlx-lm's module of this name ends the process unless `ai2-olmo` (which brings PyTorch) is
installed, and computes wrongly if it is; this one takes its place in workers. Source of the
architecture: the OLMo paper (arXiv 2402.00838): a Llama with layer norms that have no parameters,
and clipped queries, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
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

from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError

__all__ = ["Model", "ModelArgs"]

_EPS = 1e-5

# What AI2's configs may ask for and this module does not have, with the value that it has.
_UNSUPPORTED = {
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "sequential",
    "include_bias": False,
    "layer_norm_with_affine": False,
    "multi_query_attention": False,
    "rope": True,
    "scale_logits": False,
}


@dataclass
class ModelArgs(BaseModelArgs):  # type: ignore[misc]  # mlx-lm has no types
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

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> ModelArgs:
        """The shape from a config.json of either layout."""
        made: ModelArgs = super().from_dict(_translated(params) if "d_model" in params else params)
        return made


def _translated(config: dict[str, Any]) -> dict[str, Any]:
    """AI2's config under Hugging Face's names."""
    for key, ours in _UNSUPPORTED.items():
        if config.get(key, ours) not in (ours, None):
            raise LoraError(f"model: OLMo with {key} = {config[key]} is not supported.")
    inner = config.get("mlp_hidden_size") or config.get("mlp_ratio", 4) * config["d_model"]
    return {
        "model_type": config["model_type"],
        "hidden_size": config["d_model"],
        "intermediate_size": inner // 2,
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "num_key_value_heads": config.get("n_kv_heads"),
        "vocab_size": config.get("embedding_size") or config["vocab_size"],
        "max_position_embeddings": config.get("max_sequence_length", 2048),
        "rope_theta": config.get("rope_theta", 10000.0),
        "tie_word_embeddings": config.get("weight_tying", True),
        "clip_qkv": config.get("clip_qkv"),
    }


class Attention(nn.Module):
    """Attention with rotary positions and clipped projections."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        dim, self.n_heads = args.hidden_size, args.num_attention_heads
        self.n_kv_heads = args.num_key_value_heads or args.num_attention_heads
        head = dim // self.n_heads
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
        if any(".transformer." in name for name in weights):
            weights = dict(pair for item in weights.items() for pair in _renamed(*item))
        if self.args.tie_word_embeddings:
            weights = {k: v for k, v in weights.items() if not k.startswith("lm_head.")}
        return {k: v for k, v in weights.items() if not k.endswith("rotary_emb.inv_freq")}

    @property
    def layers(self) -> list[TransformerBlock]:
        """The blocks."""
        return self.model.layers


_WHOLE = {"attn_out": "self_attn.o_proj", "ff_out": "mlp.down_proj"}
# AI2 stacks these on the output axis, in this order.
_STACKED = {
    "att_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "ff_proj": ("mlp.up_proj", "mlp.gate_proj"),
}


def _renamed(name: str, weight: mx.array) -> list[tuple[str, mx.array]]:
    """One of AI2's tensors as those of Hugging Face; quantised ones have scales and biases."""
    path = name.split(".transformer.", 1)[-1].split(".")
    if path[0] == "wte":
        return [(f"model.embed_tokens.{path[-1]}", weight)]
    if path[0] == "ff_out":
        return [(f"lm_head.{path[-1]}", weight)]
    if path[0] != "blocks" or len(path) != 4:
        return [(name, weight)]
    _, block, layer, kind = path
    if layer in _WHOLE:
        return [(f"model.layers.{block}.{_WHOLE[layer]}.{kind}", weight)]
    if layer not in _STACKED:
        return [(name, weight)]
    parts = mx.split(weight, len(_STACKED[layer]), axis=0)
    return [
        (f"model.layers.{block}.{ours}.{kind}", part)
        for ours, part in zip(_STACKED[layer], parts, strict=True)
    ]
