"""The models that llama.cpp reads in these tests: family, tokenizer, and what their config says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """A model; `drop` names keys that its config leaves out."""

    family: str
    words: str
    changes: dict[str, Any] = field(default_factory=dict)
    drop: str = ""


_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
_LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.05 * n for n in range(16)],
    "long_factor": [1.0 + 0.5 * n for n in range(16)],
}
_GEMMA: dict[str, Any] = {
    "head_dim": 32,
    "tie_word_embeddings": True,
    "vocab_size": 544,
    "hidden_act": "gelu_pytorch_tanh",
}
_WINDOW = {"sliding_window": 8, "query_pre_attn_scalar": 48}

CASES = {
    "llama-spm": Case("llama", "spm-before"),
    "llama-spm-new": Case("llama", "spm"),
    "llama-spm-json": Case("llama", "spm-json"),
    "llama-unigram": Case("llama", "unigram"),
    "llama-unigram-bare": Case("llama", "unigram-bare", {"vocab_size": 576}),
    "llama-gpt2": Case("llama", "gpt2"),
    "llama-llama3": Case("llama", "llama3", {"rope_scaling": _LLAMA3, "rope_theta": 500.0}),
    "llama-cl100k": Case("llama", "cl100k"),
    "llama-digits": Case("llama", "digits"),
    "llama-tied": Case("llama", "gpt2", {"tie_word_embeddings": True}),
    "llama-biases": Case("llama", "qwen2", {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": Case("llama", "gpt2", {"head_dim": 64}),
    "llama-padded": Case("llama", "spm-before", {"vocab_size": 576}),
    "llama-linear": Case("llama", "gpt2", {"rope_scaling": {"type": "linear", "factor": 3.0}}),
    "llama-yarn": Case("llama", "gpt2", {"rope_scaling": _YARN}),
    "llama-bare": Case(
        "llama",
        "spm-before",
        drop="max_position_embeddings num_key_value_heads rope_theta tie_word_embeddings",
    ),
    "mistral": Case("mistral", "spm-before", {"sliding_window": None}),
    "mixtral": Case("mixtral", "spm-before", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": Case("qwen2", "qwen2"),
    "qwen3": Case("qwen3", "qwen2", {"head_dim": 64}),
    "gemma": Case("gemma", "spm-bare", _GEMMA),
    "gemma2": Case("gemma2", "spm-bare", _GEMMA | _WINDOW),
    "gemma3": Case(
        "gemma3_text",
        "spm-bare",
        _GEMMA | _WINDOW | {"num_hidden_layers": 7, "rope_local_base_freq": 500.0},
    ),
    "phi2": Case(
        "phi",
        "gpt2",
        {"partial_rotary_factor": 0.5, "hidden_act": "gelu_new", "num_key_value_heads": 2},
    ),
    "phi3": Case("phi3", "spm-before", {"sliding_window": None, "pad_token_id": 0}),
    "phi3-longrope": Case(
        "phi3",
        "spm-before",
        {
            "sliding_window": None,
            "pad_token_id": 0,
            "rope_scaling": _LONG,
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 256,
        },
    ),
    "olmo": Case("olmo", "gpt2", {"num_key_value_heads": 2, "clip_qkv": 0.9}),
    "olmo2": Case("olmo2", "cl100k", {"num_key_value_heads": 2}),
}
