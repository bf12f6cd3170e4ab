"""Conversions: what is written, what is refused, and that nothing is ever half there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.utils import load as load_in_mlx_lm

from lora_nb.commands.table import COMMANDS, help_of
from lora_nb.config import ConvertConfig, load, parse_flags
from lora_nb.core import convert as core
from lora_nb.core import model_folder as writer
from lora_nb.core.trees import flat
from lora_nb.display import mimebundle
from lora_nb.errors import LoraError
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Ended, ModelReady, Notice, Progress
from lora_nb.runs.export_events import ModelSaved
from tests.conformance.families.kit import (
    TOLERANCE,
    convert,
    distance,
    error,
    loaded,
    loaded_lazily,
    logits_of,
    model_folder,
    tokens_of,
)

# Whatever the config needs is in the config that is written, so that mlx-lm alone is right too.
PLAIN = ["llama", "llama-llama3", "llama-untied", "mistral", "mixtral", "olmo2", "phi", "qwen2"]
PLAIN += ["gemma3", "gemma3_text", "phi3", "phi3-partial", "qwen3"]

# How far the logits (up to 10) move at most; two bits leave little of a random model.
FORMATS: list[tuple[dict[str, Any], float]] = [
    ({"q_bits": 2, "q_group_size": 32}, 30),
    ({"q_bits": 3, "q_group_size": 32}, 12),
    ({"q_bits": 4, "q_group_size": 32}, 6),
    ({"q_bits": 5, "q_group_size": 32}, 3),
    ({"q_bits": 6, "q_group_size": 32}, 2),
    ({"q_bits": 8, "q_group_size": 32}, 1),
    ({"q_mode": "mxfp4"}, 10),
    ({"q_mode": "nvfp4"}, 8),
    ({"q_mode": "mxfp8"}, 4),
    ({"quant_predicate": "mixed_4_6", "q_group_size": 32}, 6),
]


@pytest.mark.parametrize("name", PLAIN)
def test_mlx_lm_alone_computes_a_converted_model_right(name: str, tmp_path: Path) -> None:
    made = convert(model_folder(tmp_path, name), tmp_path / "out")
    assert (made.bits, made.dtype, made.skipped) == (32, "float32", [])
    model, words = load_in_mlx_lm(str(tmp_path / "out"))[:2]
    assert error(model, name) < TOLERANCE
    # The class of tokenizer that transformers takes for a family may leave out the space.
    assert words.decode(words.encode("a b")).replace(" ", "") == "ab"


@pytest.mark.parametrize("name", ["olmo-ai2", "olmo-ai2-tied"])
def test_ai2s_layout_becomes_that_of_hugging_face(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, name)
    settings = folder / "tokenizer_config.json"
    told = json.loads(settings.read_text()) | {"tokenizer_class": "OLMoTokenizer", "auto_map": {}}
    settings.write_text(json.dumps(told))
    (folder / "tokenization_olmo_fast.py").write_text("import hf_olmo")
    convert(folder, tmp_path / "out", quantize=True, q_bits=8, q_group_size=32)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], "d_model" in config) == ("olmo", 32, False)
    assert (config["eos_token_id"], config["quantization"]["bits"]) == (2, 8)
    told = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert (told["tokenizer_class"], "auto_map" in told) == ("PreTrainedTokenizerFast", False)
    assert not list((tmp_path / "out").glob("*.py"))
    assert error(loaded(tmp_path / "out").model, name) < 1


@pytest.mark.parametrize("tied", [False, True])
def test_ai2s_layout_as_mlx_lm_quantised_it(tied: bool, tmp_path: Path) -> None:
    """Stacked layers, packed; also as a recipe, whose names are then not ours."""
    name = "olmo-ai2-tied" if tied else "olmo-ai2"
    folder = model_folder(tmp_path, name)
    weights: dict[str, mx.array] = {}
    for key, weight in flat(mx.load(str(folder / "model.safetensors"))).items():
        bits = 6 if "ff_out" in key else 8
        weights[key], scales, biases = mx.quantize(weight, 32, bits)
        stem = key.removesuffix("weight")
        weights |= {f"{stem}scales": scales, f"{stem}biases": biases}
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    config = json.loads((folder / "config.json").read_text())
    config["quantization"] = {
        "group_size": 32,
        "bits": 8,
        "model.transformer.blocks.0.ff_out": {"group_size": 32, "bits": 6},
    }
    (folder / "config.json").write_text(json.dumps(config))
    made = loaded(folder)
    assert error(made.model, name) < 1
    assert made.packed["model.layers.0.mlp.down_proj"] == 6
    assert made.packed["model.layers.1.self_attn.k_proj"] == 8
    assert error(loaded(folder, as_is=True).model, name) < 1


@pytest.mark.parametrize(("options", "far"), FORMATS, ids=lambda value: str(value))
def test_every_format(options: dict[str, Any], far: float, tmp_path: Path) -> None:
    folder, target = model_folder(tmp_path, "llama"), tmp_path / "packed"
    made = convert(folder, target, quantize=True, **options)
    assert made.bits < 11
    raw = loaded(target, as_is=True).model
    assert isinstance(raw.layers[0].self_attn.q_proj, nn.QuantizedLinear)
    off = error(raw, "llama")
    assert 1e-3 < off < far
    tokens = tokens_of("llama")
    theirs = logits_of(load_in_mlx_lm(str(target))[0], tokens)
    assert distance(theirs, logits_of(raw, tokens)) < TOLERANCE
    made_plain = loaded(target)
    types = {str(value.dtype) for value in flat(made_plain.model.parameters()).values()}
    assert types == {"mlx.core.float32"}
    assert distance(logits_of(made_plain.model, tokens), theirs) < 2e-2

    back = convert(target, tmp_path / "back", dequantize=True)
    assert (back.dtype, back.bits) == ("float32", 32)
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert "quantization" not in config
    assert distance(logits_of(loaded(tmp_path / "back").model, tokens), theirs) < 2e-2


@pytest.mark.parametrize(
    ("changes", "flag", "written"),
    [
        ({"dtype": "bfloat16"}, None, "bfloat16"),
        ({"dtype": ..., "torch_dtype": "float16"}, None, "float16"),
        ({"dtype": "bfloat16"}, "float16", "float16"),
        ({"dtype": ...}, "bfloat16", "bfloat16"),
        ({"dtype": ...}, None, "float32"),
    ],
)
def test_the_type_of_weights(
    changes: dict[str, Any], flag: str | None, written: str, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, "qwen2", **changes)
    made = convert(folder, tmp_path / "out", dtype=flag)
    assert made.dtype == written
    weights = flat(mx.load(str(tmp_path / "out" / "model.safetensors")))
    assert {str(value.dtype) for value in weights.values()} == {f"mlx.core.{written}"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype" if "torch_dtype" in changes else "dtype"] == written
    assert error(loaded(tmp_path / "out").model, "qwen2") < 1


@pytest.mark.parametrize("options", [{}, {"quantize": True, "q_group_size": 32}])
def test_numbers_that_float16_can_not_hold(options: dict[str, Any], tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "llama")
    weights = flat(mx.load(str(folder / "model.safetensors")))
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = mx.where(mx.arange(32)[:, None] == 3, 1e5, weights[name])
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    with pytest.raises(LoraError, match=r"q_proj\.\w+ holds numbers beyond 65,504, which float16"):
        convert(folder, tmp_path / "out", dtype="float16", **options)
    assert not list(tmp_path.glob("*out*"))
    assert convert(folder, tmp_path / "out", dtype="bfloat16", **options).dtype == "bfloat16"


def test_the_type_is_found_below_text_config(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "gemma3", dtype=...)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    assert convert(folder, tmp_path / "out").dtype == "bfloat16"


def test_layers_that_no_group_divides_are_named(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "gemma3_text")
    made = convert(folder, tmp_path / "out", quantize=True, q_group_size=64)
    assert len(made.skipped) == 1
    text = str(made.skipped[0])
    assert "down_proj" in text
    assert "o_proj" in text
    assert "input width 32 is no multiple of the group size 64" in text
    assert 10 < made.bits < 16
    assert np.isfinite(error(loaded(tmp_path / "out").model, "gemma3_text"))


def test_many_skipped_layers_are_counted() -> None:
    names = tuple(f"layers.{n}" for n in range(9))
    assert str(core.Skipped(names, "why")).endswith("layers.3 and 5 more (why).")


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("llama", {"quantize": True, "q_group_size": 64}, "q_group_size: no layer"),
        ("phi", {"quantize": True, "quant_predicate": "mixed_4_6", "q_group_size": 32}, "recipes"),
        ("llama", {"dequantize": True}, "is not quantised"),
    ],
)
def test_what_does_not_fit_the_model(
    name: str, options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, name)
    with pytest.raises(LoraError, match=why):
        convert(folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_quantised_model_is_not_quantised_again(tmp_path: Path) -> None:
    convert(model_folder(tmp_path, "llama"), tmp_path / "one", quantize=True, q_group_size=32)
    with pytest.raises(LoraError, match=r"quantised already .* --dequantize"):
        convert(tmp_path / "one", tmp_path / "two", quantize=True, q_group_size=32)


# Where it is written


def test_an_existing_folder_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    folder, target = model_folder(tmp_path, "llama"), tmp_path / "out"
    convert(folder, target, quantize=True, q_group_size=32)
    (target / "model-00001-of-00002.safetensors").write_bytes(b"an old part")
    with pytest.raises(LoraError, match=r"already there.*--overwrite"):
        convert(folder, target)
    assert (target / "model-00001-of-00002.safetensors").exists()
    convert(folder, target, overwrite=True)
    assert error(loaded(target).model, "llama") < TOLERANCE
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("place", ["source", "parent", "file", "documents", "link"])
def test_places_that_are_never_written(place: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    folder = model_folder(base, "llama")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(folder)
    target = {"source": folder, "parent": base}.get(place, tmp_path / place)
    with pytest.raises(LoraError, match="mlx_path"):
        convert(folder, target, overwrite=True)
    assert (tmp_path / "documents" / "thesis.txt").exists()
    assert error(loaded(folder).model, "llama") < TOLERANCE


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert(model_folder(tmp_path, "llama"), tmp_path / "out")
    assert (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("replaces", [False, True])
def test_giving_up_leaves_nothing_behind(replaces: bool, tmp_path: Path) -> None:
    folder, target = model_folder(tmp_path, "llama"), tmp_path / "out"
    if replaces:
        convert(folder, target, quantize=True, q_group_size=32)
    before = sorted(path.name for path in tmp_path.iterdir())
    config = load(ConvertConfig, flags={"model": str(folder), "mlx_path": str(target)})
    made = core.converted(loaded_lazily(folder), config)

    def tick(done: int, total: int) -> None:
        if done > total / 2:
            raise InterruptedError("enough")

    with pytest.raises(LoraError, match="Nothing was changed"):
        writer.write_model(made, folder, target, tick)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if replaces:
        assert loaded(target).packed


def test_large_models_come_in_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_FILE_BYTES", 20_000)
    convert(model_folder(tmp_path, "llama"), tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == files
    assert index["metadata"]["total_parameters"] == loaded(tmp_path / "out").parameters
    assert error(load_in_mlx_lm(str(tmp_path / "out"))[0], "llama") < TOLERANCE


# Options

WRONG: dict[str, tuple[list[str], str]] = {
    "both": (["-q", "-d"], "--dequantize: given beside quantize"),
    "bits without -q": (["--q-bits", "4"], "--q-bits: says how to quantise, .* Add --quantize"),
    "mode without -q": (["--q-mode", "mxfp4"], "--q-mode: says how"),
    "recipe and bits": (
        ["-q", "--quant-predicate", "mixed_2_6", "--q-bits", "4"],
        "--q-bits: the recipe mixed_2_6",
    ),
    "recipe and mode": (
        ["-q", "--quant-predicate", "mixed_2_6", "--q-mode", "nvfp4"],
        "--quant-predicate: recipes are for",
    ),
    "bits of a mode": (["-q", "--q-mode", "mxfp8", "--q-bits", "4"], "--q-bits: mxfp8 has 8"),
    "groups of a mode": (
        ["-q", "--q-mode", "nvfp4", "--q-group-size", "64"],
        "--q-group-size: nvfp4 has groups of 16",
    ),
    "affine groups": (["-q", "--q-group-size", "16"], "--q-group-size: 16 is not 32, 64 or 128"),
    "bits": (["-q", "--q-bits", "7"], "--q-bits: 7 is not one of"),
    "type": (["--dtype", "bfloat"], "did you mean|Did you mean"),
    "mode": (["-q", "--q-mode", "mxfp5"], "mxfp4"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_combinations_are_told(case: str) -> None:
    words, why = WRONG[case]
    parsed = parse_flags(["--hf-path", "m", *words], COMMANDS["convert"].flags)
    with pytest.raises(LoraError, match=why):
        load(ConvertConfig, flags=parsed.values)


def test_a_model_is_needed() -> None:
    with pytest.raises(LoraError, match="model"):
        load(ConvertConfig, flags={})


def test_flags_are_those_of_mlx_lm() -> None:
    words = (
        "--hf-path m --mlx-path out -q --q-bits 4 --q-group-size 32 --q-mode affine --dtype float16"
    )
    parsed = parse_flags(words.split(), COMMANDS["convert"].flags)
    config = load(ConvertConfig, flags=parsed.values)
    assert (config.model, config.mlx_path, config.quantize) == ("m", "out", True)
    assert (config.q_bits, config.q_group_size, config.dtype) == (4, 32, "float16")
    assert load(ConvertConfig, flags={"model": "m"}).mlx_path == "mlx_model"
    assert "--quant-predicate" in help_of(COMMANDS["convert"], "%lora_convert")


# As a run


def test_a_conversion_is_a_run(tmp_path: Path) -> None:
    folder, target = model_folder(tmp_path, "gemma3_text"), tmp_path / "mlx_model"
    flags = {"model": str(folder), "mlx_path": str(target), "quantize": True, "q_group_size": 64}
    run = launch.start(load(ConvertConfig, flags=flags))
    assert attach.wait(run, 60)
    assert run.status == "completed"
    assert run.verb == "convert"
    assert run.name.endswith("gemma3_text-convert")
    assert run.config == load(ConvertConfig, flags=flags)
    events = [record.event for record in run.records()]
    kinds = [type(event) for event in events]
    assert kinds.index(ModelReady) < kinds.index(Progress) < kinds.index(ModelSaved)
    warnings = [event.message for event in events if isinstance(event, Notice)]
    assert any("no multiple of the group size 64" in text for text in warnings)
    saved = next(event for event in events if isinstance(event, ModelSaved))
    assert (saved.path, saved.dtype) == (str(target), "float32")
    assert 10 < saved.bits < 16
    assert saved.size == sum(path.stat().st_size for path in target.iterdir())
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert f"{saved.bits:.2f} bits per weight" in ended.message

    shown = mimebundle(run)
    assert f"{saved.bits:.2f} bits per weight" in shown["text/plain"]
    assert "mlx_model" in shown["text/plain"]
    assert "no multiple" in shown["text/html"]
    assert shown["image/png"]


def test_a_conversion_that_can_not_be_is_a_failed_run(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "llama")
    run = launch.start(load(ConvertConfig, flags={"model": str(folder), "mlx_path": str(folder)}))
    assert attach.wait(run, 60)
    assert run.status == "failed"
    ended = run.records()[-1].event
    assert isinstance(ended, Ended)
    assert "is, or holds, the model" in ended.message
