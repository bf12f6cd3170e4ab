"""The numbers that llama.cpp needs beside the weights, and the tables of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gguf
import mlx.core as mx
import numpy as np

from lora_nb.export.gguf.names import Tensor
from lora_nb.export.gguf.source import Source, rope_kind

__all__ = ["FILE_TYPES", "add_metadata", "position_tables"]

FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
_ORIGINAL = "original_max_position_embeddings"


def add_metadata(writer: gguf.GGUFWriter, source: Source, kind: str) -> None:
    """Shapes, norms, attention and positions of the model."""
    config = source.config
    queries, keys = source.heads
    writer.add_type("model")
    writer.add_file_type(int(FILE_TYPES[kind]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(source.blocks)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(queries)
    writer.add_head_count_kv(keys)
    writer.add_key_length(source.head_dim)
    writer.add_value_length(source.head_dim)
    writer.add_vocab_size(int(config["vocab_size"]))
    if source.family.layer_norm:
        writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-5)))
    else:
        writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    _add_positions(writer, source)
    _add_special(writer, source)


def _add_positions(writer: gguf.GGUFWriter, source: Source) -> None:
    rope = source.rope
    share = float(rope.get("partial_rotary_factor") or 1.0)
    writer.add_rope_dimension_count(int(source.head_dim * share))
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    kind = rope_kind(rope)
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        writer.add_rope_scaling_orig_ctx_len(_original(source))
        writer.add_rope_scaling_yarn_beta_fast(float(rope.get("beta_fast") or 32))
        writer.add_rope_scaling_yarn_beta_slow(float(rope.get("beta_slow") or 1))
    elif kind == "longrope":
        writer.add_rope_scaling_orig_ctx_len(_original(source))
        writer.add_rope_scaling_attn_factors(_long_factor(source))


def _add_special(writer: gguf.GGUFWriter, source: Source) -> None:
    """What single families have beside the usual."""
    config, name = source.config, source.name
    if name == "mixtral":
        writer.add_expert_count(int(config["num_local_experts"]))
        writer.add_expert_used_count(int(config["num_experts_per_tok"]))
    if name == "olmo" and config.get("clip_qkv"):
        writer.add_clamp_kqv(float(config["clip_qkv"]))
    if name == "phi3":
        if rope_kind(source.rope) == "default":
            writer.add_rope_scaling_orig_ctx_len(_original(source))
        writer.add_sliding_window(int(config.get("sliding_window") or 0))
    if name in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(int(config["sliding_window"]))
        if config.get("attn_logit_softcapping"):
            writer.add_attn_logit_softcapping(float(config["attn_logit_softcapping"]))
        if config.get("final_logit_softcapping"):
            writer.add_final_logit_softcapping(float(config["final_logit_softcapping"]))
    if name == "gemma3_text":
        local = (config.get("rope_parameters") or {}).get("sliding_attention") or {}
        writer.add_rope_freq_base_swa(float(local.get("rope_theta", 10_000.0)))


def position_tables(source: Source) -> list[Tensor]:
    """Factors by which single frequencies are divided, for the scalings that have them."""
    rope = source.rope
    kind = rope_kind(rope)
    if kind == "llama3":
        return [_table("rope_freqs.weight", _llama3(rope, source))]
    if kind == "longrope":
        return [
            _table(f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"]))
            for length in ("long", "short")
        ]
    return []


def _table(name: str, values: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    array = mx.array(values.astype(np.float32))
    return Tensor(name, tuple(array.shape), lambda: array)


def _llama3(rope: Mapping[str, Any], source: Source) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Llama 3 leaves short waves as they are, stretches long ones, and blends between."""
    width = int(source.head_dim * float(rope.get("partial_rotary_factor") or 1.0))
    waves = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, width, 2) / width)
    turns = _original(source) / waves
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    share = np.clip((turns - low) / (high - low), 0, 1)
    factors: np.ndarray[Any, np.dtype[np.float64]] = 1 / (
        share + (1 - share) / float(rope["factor"])
    )
    return factors


def _original(source: Source) -> int:
    config, rope = source.config, source.rope
    found = rope.get(_ORIGINAL) or config.get(_ORIGINAL) or config["max_position_embeddings"]
    return int(found)


def _long_factor(source: Source) -> float:
    """What Phi 3 multiplies its rotations by."""
    given = source.rope.get("attention_factor")
    if given:
        return float(given)
    original = _original(source)
    stretch = int(source.config["max_position_embeddings"]) / original
    return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
