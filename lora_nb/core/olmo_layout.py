"""OLMo as AI2 lays it out: its config under Hugging Face's names, and a tokenizer that loads.

AI2's folders name classes of the package `ai2-olmo`, which are not needed for what they hold.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["is_ai2", "plain_tokenizer", "readable_tokenizer", "translated", "with_its_ids"]

# What AI2's configs may ask for, with what this module computes. Where a config leaves one out,
# the weights tell: biases, affine norms and learnt positions have tensors of their own.
_COMPUTED: dict[str, tuple[Any, ...]] = {
    "activation_type": ("swiglu",),
    "alibi": (False,),
    "attention_layer_norm": (False,),
    "block_type": ("sequential",),
    "embedding_layer_norm": (False,),
    "include_bias": (False,),
    "layer_norm_type": ("default", "low_precision"),
    "layer_norm_with_affine": (False,),
    "multi_query_attention": (False,),
    "norm_after": (False,),
    "rope": (True,),
    "scale_logits": (False,),
}


def is_ai2(config: Mapping[str, Any]) -> bool:
    """Whether a config has AI2's layout."""
    return "d_model" in config


def translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """AI2's config under Hugging Face's names.

    Raises LoraError for a model that this module would compute wrongly.
    """
    for key, computed in _COMPUTED.items():
        value = config.get(key)
        if value is not None and value not in computed:
            raise LoraError(
                f"model: its config asks for {key} = {value}, which is not computed for OLMo here."
            )
    inner = config.get("mlp_hidden_size") or config.get("mlp_ratio", 4) * config["d_model"]
    return {
        "architectures": ["OlmoForCausalLM"],
        "model_type": "olmo",
        "hidden_size": config["d_model"],
        "intermediate_size": inner // 2,
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "num_key_value_heads": config.get("n_kv_heads") or config["n_heads"],
        "vocab_size": config.get("embedding_size") or config["vocab_size"],
        "max_position_embeddings": config.get("max_sequence_length", 1024),
        "rope_theta": config.get("rope_theta", 10000.0),
        "tie_word_embeddings": config.get("weight_tying", True),
        "clip_qkv": config.get("clip_qkv"),
        "hidden_act": "silu",
        "attention_bias": False,
    }


def plain_tokenizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """AI2's tokenizer_config.json without its class, which comes with `ai2-olmo` alone.

    The class adds nothing to tokenizer.json.
    """
    kept = {key: value for key, value in settings.items() if key != "auto_map"}
    return {**kept, "tokenizer_class": "PreTrainedTokenizerFast"}


def with_its_ids(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what does not tell of the model's shape: token numbers and quantisation."""
    kept = ("_token_id", "quantization", "quantization_config", "dtype", "torch_dtype")
    return {
        **translated(config),
        **{key: value for key, value in config.items() if key.endswith(kept)},
    }


@contextmanager
def readable_tokenizer(path: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """A folder from which transformers can load the model's tokenizer: `path`, or a stand-in."""
    settings = path / "tokenizer_config.json"
    if not is_ai2(config) or not settings.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lora_nb-") as work:
        folder = Path(work)
        for file in path.iterdir():
            if file.is_file() and not file.name.endswith((".safetensors", ".bin", ".py")):
                (folder / file.name).symlink_to(file.resolve())
        _write(folder / settings.name, plain_tokenizer(json.loads(settings.read_text("utf-8"))))
        _write(folder / "config.json", with_its_ids(config))
        yield folder


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
