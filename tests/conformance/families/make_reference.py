"""Make the reference models: tiny, random, written and computed by transformers.

Run by hand, after a change here or for a new version of transformers; it needs PyTorch, which the
tests do not: `python tests/conformance/families/make_reference.py [NAME ...]` (made with torch
2.13.0 and transformers 5.23.0). For each name it writes a folder under `reference/` with
config.json, model.safetensors and reference.npz: `tokens`, and in fp32 the `logits` that
transformers gives for the last ten. A variant, which is the same weights under another config,
has no weights of its own: `weights` in its reference.npz names the folder that has them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).resolve().parent / "reference"
VOCAB = 96
LENGTH = 20

COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


def rope(theta: float, **more: Any) -> dict[str, Any]:
    """Rotary positions as transformers 5 has them."""
    return {"rope_theta": theta, "rope_type": "default"} | more


LONG = {
    "rope_type": "longrope",
    "rope_theta": 50.0,
    "short_factor": [1.0, 1.3, 1.7, 2.0],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
}


@dataclass(frozen=True)
class Recipe:
    """A model: its classes in transformers, what its config differs in, and variants of it.

    A variant names further changes of the config.
    """

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {
    "llama": Recipe(
        "Llama",
        {"rope_parameters": rope(500.0), "tie_word_embeddings": True},
        {
            "llama-llama3": {
                "rope_parameters": rope(
                    500.0,
                    rope_type="llama3",
                    factor=8.0,
                    low_freq_factor=1.0,
                    high_freq_factor=4.0,
                    original_max_position_embeddings=32,
                )
            },
            "llama-linear": {"rope_parameters": rope(500.0, rope_type="linear", factor=3.0)},
            "llama-yarn": {
                "rope_parameters": rope(
                    500.0,
                    rope_type="yarn",
                    factor=4.0,
                    original_max_position_embeddings=16,
                )
            },
            "llama-dynamic": {
                "rope_parameters": rope(500.0, rope_type="dynamic", factor=2.0),
                "max_position_embeddings": 16,
            },
        },
    ),
    "llama-untied": Recipe(
        "Llama",
        {
            "rope_parameters": rope(700.0),
            "tie_word_embeddings": False,
            "attention_bias": True,
            "mlp_bias": True,
        },
        drop=("tie_word_embeddings",),
    ),
    "mistral": Recipe(
        "Mistral",
        {"rope_parameters": rope(600.0), "sliding_window": None},
        {"mistral-window": {"sliding_window": 8}},
    ),
    "mixtral": Recipe(
        "Mixtral",
        {"rope_parameters": rope(800.0), "num_local_experts": 3, "num_experts_per_tok": 2},
        {"mixtral-window": {"sliding_window": 8}},
    ),
    "phi": Recipe(
        "Phi",
        {
            "rope_parameters": rope(300.0, partial_rotary_factor=0.5),
            "num_key_value_heads": 4,
        },
    ),
    "phi3": Recipe(
        "Phi3",
        {"rope_parameters": rope(400.0, partial_rotary_factor=1.0)},
        {
            "phi3-window": {"sliding_window": 8},
            "phi3-partial": {"rope_parameters": rope(400.0, partial_rotary_factor=0.5)},
            "phi3-short": {
                "rope_parameters": {**LONG, "original_max_position_embeddings": 32},
                "original_max_position_embeddings": 32,
            },
            "phi3-long": {
                "rope_parameters": {**LONG, "original_max_position_embeddings": 16},
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "qwen2": Recipe(
        "Qwen2",
        {"rope_parameters": rope(900.0), "tie_word_embeddings": True},
        {
            "qwen2-window": {
                "use_sliding_window": True,
                "sliding_window": 8,
                "max_window_layers": 1,
                "layer_types": ["full_attention", "sliding_attention"],
            }
        },
    ),
    "qwen3": Recipe(
        "Qwen3", {"rope_parameters": rope(350.0), "num_key_value_heads": 1, "head_dim": 16}
    ),
    "gemma": Recipe(
        "Gemma", {"rope_parameters": rope(450.0), "num_key_value_heads": 1, "head_dim": 16}
    ),
    "gemma2": Recipe(
        "Gemma2",
        {
            "rope_parameters": rope(550.0),
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 5.0,
        },
    ),
    "gemma3_text": Recipe(
        "Gemma3",
        {
            "hidden_size": 64,
            "intermediate_size": 32,
            "rope_parameters": {
                "full_attention": rope(650.0, rope_type="linear", factor=2.0),
                "sliding_attention": rope(70.0),
            },
            "head_dim": 16,
            "num_key_value_heads": 1,
            "num_attention_heads": 2,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "olmo": Recipe(
        "Olmo",
        {
            "rope_parameters": rope(750.0),
            "num_key_value_heads": 4,
            "clip_qkv": 0.9,
            "tie_word_embeddings": False,
        },
        {"olmo-tied": {"tie_word_embeddings": True}},
    ),
    "olmo2": Recipe("Olmo2", {"rope_parameters": rope(850.0), "tie_word_embeddings": False}),
}


def classes(kind: str) -> tuple[Any, Any]:
    """Config and model class."""
    config = "Gemma3TextConfig" if kind == "Gemma3" else f"{kind}Config"
    return getattr(transformers, config), getattr(transformers, f"{kind}ForCausalLM")


def stir(model: Any, seed: int) -> None:
    """Weights with which no part of the model is without effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "embed_tokens" in name:
                weight.copy_(noise * 0.5)
            elif "norm" in name and name.endswith("weight"):
                weight.add_(0.3 * noise)
            elif weight.ndim == 1:
                weight.copy_(0.3 * noise)
            else:
                weight.copy_(1.5 * noise / weight.shape[-1] ** 0.5)


def tokens() -> np.ndarray[Any, np.dtype[np.int32]]:
    """One row of token numbers, without those that have a meaning of their own."""
    return np.random.default_rng(3).integers(3, VOCAB, (1, LENGTH)).astype(np.int32)


def logits_of(model: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logits for `tokens`, computed in the plain way."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor(tokens()).long(), use_cache=False).logits
    found: np.ndarray[Any, np.dtype[np.float32]] = logits.float().numpy()[:, -10:]
    return found


def make(name: str, recipe: Recipe) -> None:
    """Write a model and its variants."""
    config_class, model_class = classes(recipe.kind)
    model = build(config_class, model_class, recipe.config)
    stir(model, sum(map(ord, name)))
    if getattr(model.config, "tie_word_embeddings", False):
        model.tie_weights()
    folder = FOLDER / name
    write(model, folder, recipe.drop)
    for variant, changes in recipe.variants.items():
        made = build(config_class, model_class, recipe.config | changes)
        weights = model.state_dict()
        if changes.get("tie_word_embeddings"):
            weights = {k: v for k, v in weights.items() if not k.startswith("lm_head")}
        made.load_state_dict(weights, strict=not changes.get("tie_word_embeddings"))
        made.tie_weights()
        write(made, FOLDER / variant, (), weights_in=name)


def build(config_class: Any, model_class: Any, changes: dict[str, Any]) -> Any:
    """A model of a config, attention computed step by step."""
    config = config_class(**(COMMON | changes))
    config.dtype = "float32"
    config._attn_implementation = "eager"
    return model_class(config)


def write(model: Any, folder: Path, drop: tuple[str, ...], weights_in: str = "") -> None:
    """Config, weights and logits as a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        model.save_pretrained(work)
        config = json.loads((Path(work) / "config.json").read_text())
        if not weights_in:
            weights = load_file(str(Path(work) / "model.safetensors"))
            save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for key in drop:
        config.pop(key, None)
    record(folder, config, logits_of(model), weights_in)


def record(folder: Path, config: dict[str, Any], logits: Any, weights_in: str = "") -> None:
    """The config and the expected logits."""
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    np.savez_compressed(
        folder / "reference.npz", tokens=tokens(), logits=logits, weights=np.array(weights_in)
    )


def make_ai2() -> None:
    """OLMo as AI2 lays it out, from that of transformers: other names, and stacked weights.

    The names and the order of the stacks are those of AI2's `olmo/model.py`; the config has the
    keys of its `ModelConfig`.
    """
    source = load_file(str(FOLDER / "olmo" / "model.safetensors"))
    weights = {
        "model.transformer.wte.weight": source["model.embed_tokens.weight"],
        "model.transformer.ff_out.weight": source["lm_head.weight"],
    }
    for block in range(COMMON["num_hidden_layers"]):
        old, new = f"model.layers.{block}.", f"model.transformer.blocks.{block}."
        attention = [source[f"{old}self_attn.{part}_proj.weight"] for part in "qkv"]
        weights[f"{new}att_proj.weight"] = torch.cat(attention)
        weights[f"{new}attn_out.weight"] = source[f"{old}self_attn.o_proj.weight"]
        feed = [source[f"{old}mlp.{part}_proj.weight"] for part in ("up", "gate")]
        weights[f"{new}ff_proj.weight"] = torch.cat(feed)
        weights[f"{new}ff_out.weight"] = source[f"{old}mlp.down_proj.weight"]
    config = {
        "model_type": "hf_olmo",
        "architectures": ["OLMoForCausalLM"],
        "d_model": 32,
        "n_heads": 4,
        "n_kv_heads": None,
        "n_layers": 2,
        "mlp_ratio": 2,
        "mlp_hidden_size": 64,
        "activation_type": "swiglu",
        "block_type": "sequential",
        "rope": True,
        "rope_full_precision": True,
        "rope_theta": 750.0,
        "alibi": False,
        "attention_layer_norm": False,
        "layer_norm_type": "default",
        "layer_norm_with_affine": False,
        "bias_for_layer_norm": False,
        "multi_query_attention": False,
        "include_bias": False,
        "scale_logits": False,
        "clip_qkv": 0.9,
        "max_sequence_length": 64,
        "vocab_size": VOCAB - 2,
        "embedding_size": VOCAB,
        "weight_tying": False,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    for name, tied in (("olmo-ai2", False), ("olmo-ai2-tied", True)):
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        expected = np.load(FOLDER / ("olmo-tied" if tied else "olmo") / "reference.npz")["logits"]
        record(folder, config | {"weight_tying": tied}, expected, "olmo-ai2" if tied else "")
        if not tied:
            save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


def make_gemma3() -> None:
    """Gemma 3 with its picture half, around the text model of the same name."""
    text = json.loads((FOLDER / "gemma3_text" / "config.json").read_text())
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, dtype="float32"
    )
    config.text_config.use_cache = False
    config._attn_implementation = "eager"
    model = transformers.Gemma3ForConditionalGeneration(config)
    source = load_file(str(FOLDER / "gemma3_text" / "model.safetensors"))
    with torch.no_grad():
        own = model.model.language_model.state_dict()
        for name in own:
            own[name].copy_(source[f"model.{name}"])
    model.tie_weights()
    write(model, FOLDER / "gemma3", ())


def main(names: list[str]) -> None:
    """Make the named references, or all of them."""
    torch.manual_seed(0)
    for name, recipe in RECIPES.items():
        if not names or name in names:
            make(name, recipe)
    if not names or "olmo-ai2" in names:
        make_ai2()
    if not names or "gemma3" in names:
        make_gemma3()
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{len(list(FOLDER.iterdir()))} folders, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
