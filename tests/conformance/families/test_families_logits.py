"""Every family computes what transformers computes, from configs as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

from lora_nb.config import ModelOptions
from lora_nb.core.corrections import windows_of
from lora_nb.core.load import load_words
from lora_nb.errors import LoraError
from tests.conformance.families.kit import (
    NAMES,
    TOLERANCE,
    distance,
    error,
    loaded,
    logits_of,
    model_folder,
    tokens_of,
    wanted,
)

ROPE = "rope_parameters"
WINDOW = "sliding_window"
# What is said to be mended, for each of the references.
MENDED: dict[str, set[str]] = {
    **{name: {ROPE} for name in NAMES},
    "gemma": {ROPE, "GELU"},
    "gemma2": {ROPE, WINDOW},
    "gemma3": {ROPE, "layer_types"},
    "gemma3_text": {ROPE, "layer_types"},
    "llama-untied": {ROPE, "head of its own"},
    "mistral-window": {ROPE, WINDOW},
    "mixtral-window": {ROPE, WINDOW},
    "olmo-ai2": set(),
    "olmo-ai2-tied": set(),
    "phi3-long": {ROPE, "short_factor"},
    "phi3-short": {ROPE, "short_factor"},
    "phi3-window": {ROPE, WINDOW},
    "qwen2-window": {ROPE, WINDOW},
    "qwen3": set(),
}


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    made = loaded(model_folder(tmp_path, name))
    assert error(made.model, name) < TOLERANCE
    assert np.abs(wanted(name)).max() > 3
    assert len(made.notes) == len(MENDED[name])
    for what in MENDED[name]:
        assert any(what in note for note in made.notes), what


# Dynamic scaling turns every position with the length, so what is cached is never quite right.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "llama-dynamic"])
def test_a_cache_changes_nothing(name: str, tmp_path: Path) -> None:
    model = loaded(model_folder(tmp_path, name)).model
    tokens = tokens_of(name)
    cache = make_prompt_cache(model)
    # A text that grows out of the short positions keeps the ones it has, as in transformers.
    first = 17 if name == "phi3-long" else 7
    parts = [model(tokens[:, :first], cache)]
    parts += [model(tokens[:, at : at + 1], cache) for at in range(first, tokens.shape[1])]
    assert distance(np.array(mx.concatenate(parts, axis=1)[:, -10:]), wanted(name)) < TOLERANCE


# What mlx-lm alone makes of the same folders (OLMo apart, which ends the process).
WRONG = sorted(
    set(NAMES) - {name for name in NAMES if name.startswith("olmo-")} - {"olmo", "qwen3"}
)


@pytest.mark.parametrize("name", WRONG)
def test_without_mending_mlx_lm_is_wrong(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, name)
    try:
        model, _ = load_model(folder)
        off = error(model, name)
    except (ValueError, IndexError):
        return
    assert off > 20 * TOLERANCE


def test_mlx_lm_computes_qwen3_as_it_is(tmp_path: Path) -> None:
    model, _ = load_model(model_folder(tmp_path, "qwen3"))
    assert error(model, "qwen3") < TOLERANCE


# Configs as transformers 4 and others wrote them.

OLD: dict[str, tuple[str, dict[str, Any]]] = {
    "theta": ("llama", {ROPE: ..., "rope_theta": 500.0}),
    "theta by kinds of blocks": (
        "qwen2-window",
        {
            ROPE: {
                "full_attention": {"rope_theta": 900.0},
                "sliding_attention": {"rope_theta": 900.0, "rope_type": "default"},
            }
        },
    ),
    "theta in both": ("llama", {"rope_theta": 7.0}),
    "tied by default": ("llama", {"tie_word_embeddings": ...}),
    "no kind of scaling": ("llama", {"rope_scaling": {"rope_type": "default"}}),
    "llama3": (
        "llama-llama3",
        {
            ROPE: ...,
            "rope_theta": 500.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "yarn of the longest text": (
        "llama-yarn",
        {
            ROPE: ...,
            "rope_theta": 500.0,
            "max_position_embeddings": 16,
            "rope_scaling": {"type": "yarn", "factor": 4.0},
        },
    ),
    "longrope without type": (
        "phi3-long",
        {
            ROPE: ...,
            "rope_theta": 50.0,
            "rope_scaling": {
                "rope_type": "longrope",
                "short_factor": [1.0, 1.3, 1.7, 2.0],
                "long_factor": [1.0, 2.0, 4.0, 8.0],
            },
        },
    ),
    "partial positions": ("phi", {ROPE: ..., "rope_theta": 300.0}),
    "gelu that means tanh": ("gemma", {"hidden_act": "gelu"}),
    "windows by default": ("gemma2", {"layer_types": ...}),
    "windows by number": ("qwen2-window", {"layer_types": ...}),
    "pattern": (
        "gemma3_text",
        {
            ROPE: ...,
            "layer_types": ...,
            "sliding_window_pattern": 2,
            "rope_theta": 650.0,
            "rope_local_base_freq": 70.0,
            "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        },
    ),
    "olmo's older name": ("olmo-ai2", {"model_type": "olmo", "mlp_hidden_size": None}),
}


@pytest.mark.parametrize("case", sorted(OLD))
def test_older_configs(case: str, tmp_path: Path) -> None:
    name, changes = OLD[case]
    assert error(loaded(model_folder(tmp_path, name, **changes)).model, name) < TOLERANCE


# What can't be right is refused.

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "activation": ("llama", {"hidden_act": "gelu"}, "hidden_act = gelu"),
    "norm of queries": ("phi", {"qk_layernorm": True}, "qk_layernorm"),
    "both directions": ("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional"),
    "no soft cap": ("gemma2", {"attn_logit_softcapping": None}, "attn_logit_softcapping"),
    "soft cap": ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    "scaling": ("gemma", {"rope_scaling": {"type": "linear", "factor": 2.0}, ROPE: ...}, "linear"),
    "scaling of experts": (
        "mixtral",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
        "yarn",
    ),
    "yarn's own factor": (
        "llama-yarn",
        {
            ROPE: {
                "rope_type": "yarn",
                "rope_theta": 500.0,
                "factor": 4.0,
                "attention_factor": 2.0,
            }
        },
        "attention_factor",
    ),
    "partial positions": (
        "llama",
        {ROPE: {"rope_theta": 500.0, "partial_rotary_factor": 0.5}},
        "partial",
    ),
    "scaling in windows": (
        "gemma3_text",
        {
            ROPE: {
                "full_attention": {"rope_theta": 1e4},
                "sliding_attention": {"rope_type": "linear", "factor": 2.0},
            }
        },
        "linear",
    ),
    "other positions in windows": (
        "qwen2-window",
        {
            ROPE: {
                "full_attention": {"rope_theta": 900.0},
                "sliding_attention": {"rope_theta": 30.0},
            }
        },
        r"rope_theta of its own \(30\) in blocks with a window",
    ),
    "positions of other blocks": (
        "llama",
        {ROPE: {"chunked_attention": {"rope_theta": 500.0}, "full_attention": {"rope_theta": 1e4}}},
        r"positions by kinds of blocks \(chunked_attention, full_attention\)",
    ),
    "positions of windows alone": (
        "llama",
        {ROPE: {"sliding_attention": {"rope_theta": 500.0}}},
        r"positions by kinds of blocks \(sliding_attention\)",
    ),
    "odd pattern": (
        "gemma3_text",
        {"layer_types": ["full_attention", "sliding_attention"]},
        "pattern",
    ),
    "nothing but windows": ("gemma3_text", {"layer_types": ["sliding_attention"] * 2}, "whole"),
    "alibi": ("olmo-ai2", {"alibi": True}, "alibi"),
    "other norms": ("olmo-ai2", {"layer_norm_type": "rms"}, "layer_norm_type"),
    "unknown family": ("llama", {"model_type": "unheard-of"}, "unheard-of"),
    "other shape": ("qwen3", {"head_dim": 8}, "shape"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_model_that_cannot_be_right_is_refused(case: str, tmp_path: Path) -> None:
    name, changes, why = REFUSED[case]
    with pytest.raises(LoraError, match=why):
        loaded(model_folder(tmp_path, name, **changes))


def test_windows_follow_the_config() -> None:
    common = {"num_hidden_layers": 4, "sliding_window": 8, "max_position_embeddings": 64}
    assert windows_of({**common, "model_type": "mistral"}) == [8] * 4
    assert windows_of({**common, "model_type": "gemma2"}) == [8, None, 8, None]
    assert windows_of({**common, "model_type": "qwen2"}) == []
    used = {**common, "model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 3}
    assert windows_of(used) == [None, None, None, 8]
    assert windows_of({**common, "model_type": "phi3", "max_position_embeddings": 8}) == []
    assert windows_of({**common, "model_type": "llama"}) == []


def test_a_window_is_a_window(tmp_path: Path) -> None:
    """What lies before it has no influence."""
    model = loaded(model_folder(tmp_path, "mistral-window")).model
    del model.model.layers[1:]
    tokens = tokens_of("mistral-window")
    changed = mx.concatenate([mx.array([[7, 8, 9]]), tokens[:, 3:]], axis=1)
    one, other = logits_of(model, tokens), logits_of(model, changed)
    assert distance(one, other) < 1e-6
    assert distance(np.array(model(tokens)), np.array(model(changed))) > 0.1


@pytest.mark.parametrize("tokenizer_class", ["OLMoTokenizer", "OLMoTokenizerFast"])
def test_ai2s_tokenizer_needs_no_package_of_ai2(tokenizer_class: str, tmp_path: Path) -> None:
    import json

    folder = model_folder(tmp_path, "olmo-ai2")
    settings = folder / "tokenizer_config.json"
    told = json.loads(settings.read_text()) | {
        "tokenizer_class": tokenizer_class,
        "auto_map": {"AutoTokenizer": ["", "tokenization_olmo_fast.OLMoTokenizerFast"]},
    }
    settings.write_text(json.dumps(told))
    words = load_words(folder, ModelOptions(model=str(folder)))
    assert words.decode(words.encode("who knows?")) == "who knows?"
    assert words.eos_token_ids == {2}
    assert json.loads(settings.read_text()) == told
