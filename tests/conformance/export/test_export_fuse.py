"""A fused model computes what base and adapter do, in every family and every way of fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load as load_in_mlx_lm

from lora_nb.core.trees import flat
from lora_nb.errors import LoraError
from tests.conformance.export.kit import fuse, on, random_adapter
from tests.conformance.families.kit import (
    FAMILIES,
    convert,
    distance,
    loaded,
    loaded_lazily,
    logits_of,
    model_folder,
    tokens_of,
)

# mlx-lm computes these otherwise whatever the config says, and can't load OLMo at all.
OTHERWISE = {"gemma", "gemma2", "phi3-long", "olmo", "olmo-ai2-tied"}
KINDS = ["lora", "dora", "full"]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fused")


def options_of(name: str, kind: str) -> dict[str, Any]:
    options: dict[str, Any] = {"fine_tune_type": kind}
    if kind == "dora" and name == "mixtral":
        options["lora_parameters"] = {"keys": ["self_attn.q_proj", "self_attn.v_proj"]}
    return options


def quantised(base: Path, name: str, **options: Any) -> Path:
    folder = base / f"{name}-4bit"
    if not folder.exists():
        convert(model_folder(base, name), folder, quantize=True, **{"q_group_size": 32, **options})
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_fused_as_with_the_adapter(name: str, kind: str, base: Path) -> None:
    folder = model_folder(base, name)
    adapter = random_adapter(base / f"{name}-{kind}", folder, **options_of(name, kind))
    target = base / f"{name}-{kind}-fused"
    fuse(folder, adapter, target)
    tokens = tokens_of(name)
    wanted = logits_of(on(folder, adapter), tokens)
    assert distance(wanted, logits_of(loaded(folder).model, tokens)) > 0.05
    found = logits_of(loaded(target).model, tokens)
    assert distance(wanted, found) < TOLERANCE * max(1, np.abs(wanted).max())
    if kind == "lora" and name not in OTHERWISE:
        theirs = load_in_mlx_lm(str(target))[0]
        assert distance(logits_of(theirs, tokens), found) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama-untied", "mixtral", "olmo", "gemma3_text"])
def test_dequantised_as_with_the_adapter(name: str, kind: str, base: Path) -> None:
    folder = quantised(base, name)
    adapter = random_adapter(base / f"{name}-4-{kind}", folder, **options_of(name, kind))
    target = base / f"{name}-4-{kind}-fused"
    made = fuse(folder, adapter, target, dequantize=True)
    assert "quantization" not in made.config
    wanted = logits_of(on(folder, adapter), tokens_of(name))
    found = logits_of(loaded(target).model, tokens_of(name))
    assert distance(wanted, found) < TOLERANCE * max(1, np.abs(wanted).max())


@pytest.mark.parametrize(
    "name", ["gemma2", "llama-untied", "mixtral", "olmo-ai2-tied", "phi3-long", "qwen2"]
)
def test_quantised_again_as_the_base_was(name: str, base: Path) -> None:
    folder = quantised(base, name)
    adapter = random_adapter(base / f"{name}-4-again", folder)
    target = base / f"{name}-4-again-fused"
    fuse(folder, adapter, target)
    before, after = loaded_lazily(folder), loaded_lazily(target)
    assert after.packed == before.packed
    assert after.config["quantization"] == before.config["quantization"]
    types = {key: weight.dtype for key, weight in flat(before.model.parameters()).items()}
    assert types == {key: weight.dtype for key, weight in flat(after.model.parameters()).items()}
    tokens = tokens_of(name)
    wanted, found = logits_of(on(folder, adapter), tokens), logits_of(loaded(target).model, tokens)
    plain = logits_of(loaded(folder).model, tokens)
    assert np.abs(wanted - found).mean() < np.abs(wanted - plain).mean()


def test_each_layer_keeps_its_own_bits(base: Path) -> None:
    folder = base / "recipe"
    convert(
        model_folder(base, "llama-untied"),
        folder,
        quantize=True,
        q_group_size=32,
        quant_predicate="mixed_3_6",
    )
    adapter = random_adapter(base / "recipe-adapter", folder)
    fuse(folder, adapter, base / "recipe-fused")
    before, after = loaded_lazily(folder), loaded_lazily(base / "recipe-fused")
    assert set(before.packed.values()) == {3, 6}
    assert after.packed == before.packed


@pytest.mark.parametrize("mode", ["mxfp4", "nvfp4", "mxfp8"])
def test_block_formats(mode: str, base: Path) -> None:
    folder = base / mode
    convert(model_folder(base, "qwen3"), folder, quantize=True, q_mode=mode)
    adapter = random_adapter(base / f"{mode}-adapter", folder)
    fuse(folder, adapter, base / f"{mode}-fused")
    fuse(folder, adapter, base / f"{mode}-plain", dequantize=True)
    assert loaded_lazily(base / f"{mode}-fused").packed == loaded_lazily(folder).packed
    wanted = logits_of(on(folder, adapter), tokens_of("qwen3"))
    found = logits_of(loaded(base / f"{mode}-plain").model, tokens_of("qwen3"))
    assert distance(wanted, found) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_types_of_the_base_are_kept(kind: str, base: Path) -> None:
    """On a CPU the weights are held in fp32; what is written has the type of the base."""
    half = base / "half"
    if not half.exists():
        convert(model_folder(base, "llama-untied"), half, dtype="bfloat16")
    adapter = random_adapter(base / f"half-{kind}", half, fine_tune_type=kind)
    made = fuse(half, adapter, base / f"half-{kind}-fused")
    assert made.dtype == "bfloat16"
    written = mx.load(str(base / f"half-{kind}-fused" / "model.safetensors"))
    assert isinstance(written, dict)
    assert {weight.dtype for weight in written.values()} == {mx.bfloat16}
    config = json.loads((base / f"half-{kind}-fused" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("packed", [True, False])
def test_dequantising_leaves_other_types_alone(packed: bool, base: Path) -> None:
    """Norms in fp32 beside matrices of 16 bits or fewer stay so."""
    folder = base / f"mixed-{packed}"
    options: dict[str, Any] = {"quantize": True, "q_group_size": 32} if packed else {}
    convert(model_folder(base, "llama-untied"), folder, dtype="bfloat16", **options)
    file = folder / "model.safetensors"
    weights: Any = mx.load(str(file))
    norms = {name: weights[name].astype(mx.float32) for name in weights if "norm" in name}
    mx.eval(weights, norms)
    file.unlink()
    mx.save_safetensors(str(file), weights | norms, metadata={"format": "mlx"})
    adapter = random_adapter(base / f"mixed-{packed}-adapter", folder)
    target = base / f"mixed-{packed}-fused"
    fuse(folder, adapter, target, dequantize=True)
    written: Any = mx.load(str(target / "model.safetensors"))
    types = {name: weight.dtype for name, weight in written.items()}
    assert {types[name] for name in norms} == {mx.float32}
    assert {types[name] for name in types.keys() - norms.keys()} == {mx.bfloat16}


def test_embedding_and_head(base: Path) -> None:
    folder = model_folder(base, "llama-untied")
    keys = ["model.embed_tokens", "lm_head", "self_attn.o_proj"]
    for kind in ("lora", "dora"):
        options: dict[str, Any] = {"fine_tune_type": kind, "lora_parameters": {"keys": keys}}
        adapter = random_adapter(base / f"ends-{kind}", folder, **options)
        fuse(folder, adapter, base / f"ends-{kind}-fused")
        wanted = logits_of(on(folder, adapter), tokens_of("llama-untied"))
        found = logits_of(loaded(base / f"ends-{kind}-fused").model, tokens_of("llama-untied"))
        assert distance(wanted, found) < TOLERANCE * max(1, np.abs(wanted).max())


def test_an_adapter_of_another_model_is_refused(base: Path) -> None:
    adapter = random_adapter(base / "foreign", model_folder(base, "phi"))
    with pytest.raises(LoraError, match="family phi"):
        fuse(model_folder(base, "qwen3"), adapter, base / "foreign-fused")
    full = random_adapter(base / "foreign-full", model_folder(base, "phi"), fine_tune_type="full")
    with pytest.raises(LoraError, match=r"is \(\d+, \d+\), not|is \(\d+,\), not"):
        fuse(quantised(base, "gemma3_text"), full, base / "foreign-fused")
    assert not (base / "foreign-fused").exists()
