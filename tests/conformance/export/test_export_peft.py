"""Adapters go both ways between PEFT and us, and compute the same."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from lora_nb.core.adapters import put_on
from lora_nb.core.trainable import start_from
from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError
from lora_nb.export.peft import as_peft, check_peft_folder, write_peft
from lora_nb.runs.adapters import ADAPTER_CONFIG, PEFT_WEIGHTS, find_adapter, is_adapter
from tests.conformance.export.kit import REFERENCE, fuse, on, random_adapter
from tests.conformance.families.kit import (
    convert,
    distance,
    loaded,
    logits_of,
    model_folder,
    tokens_of,
)

NAMES = sorted(path.name for path in REFERENCE.iterdir())
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peft")


def model_name(name: str) -> str:
    return str(np.load(REFERENCE / name / "reference.npz")["model"])


def theirs(name: str) -> Any:
    return np.load(REFERENCE / name / "reference.npz")["logits"]


def weights_of(folder: Path) -> Weights:
    found = mx.load(str(folder / PEFT_WEIGHTS))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_as_in_peft(name: str, base: Path) -> None:
    folder, tokens = model_folder(base, model_name(name)), tokens_of(model_name(name))
    net = loaded(folder).model
    plain = logits_of(net, tokens)
    assert distance(plain, theirs(name)) > 0.5
    adapter = put_on(net, REFERENCE / name)
    assert distance(logits_of(net, tokens), theirs(name)) < TOLERANCE
    adapter.off()
    assert distance(logits_of(net, tokens), plain) == 0
    adapter.on()
    assert distance(logits_of(net, tokens), theirs(name)) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_fused_it_computes_as_in_peft(name: str, base: Path) -> None:
    folder, target = model_folder(base, model_name(name)), base / f"{name}-fused"
    fuse(folder, REFERENCE / name, target)
    found = logits_of(loaded(target).model, tokens_of(model_name(name)))
    assert distance(found, theirs(name)) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_peft_writes(name: str, base: Path) -> None:
    """The same names, shapes and numbers as in PEFT's own file, and the same factors."""
    net = loaded(model_folder(base, model_name(name))).model
    config, weights = as_peft(net, put_on(net, REFERENCE / name), "owner/model")
    write_peft(config, weights, base / f"{name}-again")
    own = {key: w for key, w in weights_of(REFERENCE / name).items() if "base_layer" not in key}
    found = weights_of(base / f"{name}-again")
    assert {key: w.shape for key, w in found.items()} == {key: w.shape for key, w in own.items()}
    assert all(mx.array_equal(found[key], own[key]) for key in own)
    again = on(model_folder(base, model_name(name)), base / f"{name}-again")
    assert distance(logits_of(again, tokens_of(model_name(name))), theirs(name)) < TOLERANCE
    read = json.loads((base / f"{name}-again" / ADAPTER_CONFIG).read_text())
    assert read["base_model_name_or_path"] == "owner/model"


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_our_adapters_as_peft_has_them(kind: str, base: Path) -> None:
    folder = model_folder(base, "llama-untied")
    parameters = {"rank": 3, "alpha": 7}
    options: dict[str, Any] = {
        "fine_tune_type": kind,
        "num_layers": 1,
        "lora_parameters": parameters,
    }
    adapter = random_adapter(base / f"ours-{kind}", folder, **options)
    net = loaded(folder).model
    config, weights = as_peft(net, put_on(net, adapter), str(folder))
    assert (config["r"], config["lora_alpha"], config["use_dora"]) == (3, 7, kind == "dora")
    assert all(".layers.1." in name for name in config["target_modules"])
    assert config["base_model_name_or_path"] == "llama-untied"
    write_peft(config, weights, base / f"ours-{kind}-peft")
    tokens = tokens_of("llama-untied")
    there = logits_of(on(folder, base / f"ours-{kind}-peft"), tokens)
    assert distance(there, logits_of(on(folder, adapter), tokens)) < 1e-5


def test_it_lies_on_a_quantised_model(base: Path) -> None:
    folder = model_folder(base, "llama-untied")
    packed = base / "packed"
    convert(folder, packed, quantize=True, q_bits=8, q_group_size=32)
    found = logits_of(on(packed, REFERENCE / "ends"), tokens_of("llama-untied"))
    assert distance(found, theirs("ends")) < 0.2
    fuse(packed, REFERENCE / "ends", base / "packed-fused", dequantize=True)
    again = logits_of(loaded(base / "packed-fused").model, tokens_of("llama-untied"))
    assert distance(found, again) < TOLERANCE


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"peft_type": "LOHA"}, "an adapter of the kind LOHA"),
    "bias": ({"bias": "all"}, 'bias = "all"'),
    "saved modules": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "experts": ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters"),
    "another base": ({"init_lora_weights": "pissa"}, "changes the base model"),
    "no rank": ({"r": 0}, "r is 0"),
    "more layers": ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "o_proj: target_modules"),
    "dora": ({"use_dora": True}, r"incomplete \(m is missing\)"),
    "no config": ({"peft_type": ...}, "no config of PEFT"),
    "endless alpha": ({"lora_alpha": math.inf}, "lora_alpha is Infinity, not a number above 0"),
    "patterns in a list": ({"rank_pattern": [4]}, "rank_pattern is no mapping"),
    "words for alpha": ({"alpha_pattern": {"q_proj": "8"}}, 'has "8" for q_proj, not a number'),
    "negative alpha": ({"alpha_pattern": {"q_proj": -8}}, "has -8 for q_proj"),
    "no pattern": ({"alpha_pattern": {"((q": 8}}, r"alpha_pattern has a pattern that is none"),
    "no pattern of names": ({"target_modules": "((q"}, "target_modules is a pattern that is none"),
    "a number for names": ({"exclude_modules": 5}, "exclude_modules is 5, neither a pattern nor"),
    "numbers for names": ({"target_modules": [5]}, r"target_modules is \[5\], neither"),
}


@pytest.mark.parametrize("case", sorted(CONFIGS))
def test_what_can_not_be_had_is_refused(case: str, base: Path, tmp_path: Path) -> None:
    changes, why = CONFIGS[case]
    folder = tmp_path / "adapter"
    shutil.copytree(REFERENCE / "lora", folder)
    config = json.loads((folder / ADAPTER_CONFIG).read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not ...}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(kept))
    net = loaded(model_folder(base, "llama")).model
    before = logits_of(net, tokens_of("llama"))
    with pytest.raises(LoraError, match=why):
        put_on(net, folder)
    assert distance(logits_of(net, tokens_of("llama")), before) == 0


def test_lengths_of_dora_must_fit(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(REFERENCE / "dora", folder)
    file = folder / PEFT_WEIGHTS
    weights: Any = mx.load(str(file))
    name = next(name for name in weights if "magnitude" in name)
    weights[name] = weights[name][:-1]
    mx.eval(weights)
    file.unlink()
    mx.save_safetensors(str(file), weights)
    with pytest.raises(LoraError, match=r"its lora_magnitude_vector has \d+ numbers, not \d+"):
        put_on(loaded(model_folder(base, "llama")).model, folder)


def test_weights_that_do_not_fit_are_listed(base: Path, tmp_path: Path) -> None:
    net = loaded(model_folder(base, "qwen3")).model
    with pytest.raises(LoraError, match=r"A is .* and B .*, but the layer turns"):
        put_on(net, REFERENCE / "lora")
    tied = loaded(model_folder(base, "llama")).model
    with pytest.raises(LoraError, match="the embedding is the head, too"):
        put_on(tied, REFERENCE / "ends")
    with pytest.raises(LoraError, match="no linear layer of this name"):
        put_on(tied, REFERENCE / "patterns")
    other = loaded(model_folder(base, "phi")).model
    with pytest.raises(LoraError, match="is not this model's"):
        put_on(other, REFERENCE / "ends")


def test_what_peft_has_not_is_refused(base: Path) -> None:
    mixed = model_folder(base, "mixtral")
    net = loaded(mixed).model
    with pytest.raises(
        LoraError, match=r"export_peft: .*PEFT has no such layer as LoRASwitchLinear"
    ):
        as_peft(net, put_on(net, random_adapter(base / "experts", mixed)), "m")
    gate: dict[str, Any] = {"lora_parameters": {"keys": ["block_sparse_moe.gate"]}}
    net = loaded(mixed).model
    with pytest.raises(LoraError, match="under another name"):
        as_peft(net, put_on(net, random_adapter(base / "gate", mixed, **gate)), "m")
    tied = model_folder(base, "llama")
    keys: dict[str, Any] = {"lora_parameters": {"keys": ["model.embed_tokens"]}}
    net = loaded(tied).model
    with pytest.raises(LoraError, match="the embedding is the head, too"):
        as_peft(net, put_on(net, random_adapter(base / "tied", tied, **keys)), "m")
    full = random_adapter(base / "full", tied, fine_tune_type="full")
    net = loaded(tied).model
    with pytest.raises(LoraError, match="a full fine-tuning is no adapter"):
        as_peft(net, put_on(net, full), "m")


def test_a_folder_of_peft_is_an_adapter(base: Path) -> None:
    assert is_adapter(REFERENCE / "lora")
    assert find_adapter(str(REFERENCE / "lora")) == REFERENCE / "lora"
    net = loaded(model_folder(base, "llama")).model
    with pytest.raises(LoraError, match=r"^resume_adapter_file: .* of PEFT"):
        start_from(net, str(REFERENCE / "lora"), {"fine_tune_type": "lora"})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert check_peft_folder(str(tmp_path / "there"), []) == tmp_path / "there"
    (tmp_path / "there" / "x").touch()
    with pytest.raises(LoraError, match="already there"):
        check_peft_folder(str(tmp_path / "there"), [])
    with pytest.raises(LoraError, match="needed for something else"):
        check_peft_folder(str(tmp_path / "model"), [tmp_path / "model"])
