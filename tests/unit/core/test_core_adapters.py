"""Adapters: put on, taken off, started from, and what is said when they don't fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest

from lora_nb.config import LoraParameters, TrainConfig
from lora_nb.core.adapters import put_on, read_weights
from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.step import Stepper
from lora_nb.core.trainable import make_trainable, start_from
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.tiny import BLOCKS, VOCAB, model_folder
from tests.unit.core.kit import (
    batch_of,
    config_of,
    copied,
    distance,
    encoded,
    loaded,
    stir,
    weights_of,
)

KINDS = ("lora", "dora", "full")


def saved(folder: Path, model: Path, config: TrainConfig) -> Path:
    """A trained adapter on disk."""
    net = loaded(model)
    described = make_trainable(net, config)
    stir(net)
    net.train()
    optimizer = optim.SGD(learning_rate=0.05)
    Stepper(net, optimizer, seed=0)(batch_of([encoded(9, 1)]), 1, update=True)
    writer = CheckpointWriter(folder / "checkpoints", folder / "adapters", described)
    writer.prepare()
    writer.save(1, net, {}, {}, {})
    return folder / "adapters"


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter of each kind."""
    return {
        kind: saved(tmp_path_factory.mktemp(kind), model, config_of(fine_tune_type=kind))
        for kind in KINDS
    }


def logits(net: nn.Module) -> np.ndarray[Any, Any]:
    tokens = mx.array(np.arange(3, 20, dtype=np.int32))[None]
    return np.array(net(tokens))


def edited(adapter: Path, folder: Path, **changes: Any) -> Path:
    """A copy of an adapter with another config."""
    copy = folder / "edited"
    shutil.copytree(adapter, copy)
    config = json.loads((copy / ADAPTER_CONFIG).read_text())
    (copy / ADAPTER_CONFIG).write_text(json.dumps({**config, **changes}))
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_off_gives_the_base_model_back_and_on_the_adapter(
    kind: str, model: Path, adapters: dict[str, Path]
) -> None:
    net = loaded(model)
    base = logits(net)
    adapter = put_on(net, adapters[kind])
    tuned = logits(net)
    assert np.abs(tuned - base).max() > 1e-3

    for _ in range(2):
        adapter.off()
        np.testing.assert_array_equal(logits(net), base)
        adapter.on()
        np.testing.assert_array_equal(logits(net), tuned)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2, -1])
def test_only_the_last_blocks_are_trained(kind: Any, layers: int, model: Path) -> None:
    net = loaded(model)
    described = make_trainable(net, config_of(fine_tune_type=kind, num_layers=layers))
    count = BLOCKS if layers == -1 else layers
    blocks = {int(name.split(".")[2]) for name in weights_of(net)}

    assert blocks == set(range(BLOCKS - count, BLOCKS))
    assert described["num_layers"] == count
    assert described["fine_tune_type"] == kind


def test_the_default_is_sixteen_blocks_or_all_of_a_smaller_model(model: Path) -> None:
    assert make_trainable(loaded(model), config_of(num_layers=None))["num_layers"] == BLOCKS
    with pytest.raises(LoraError) as caught:
        make_trainable(loaded(model), config_of(num_layers=5))
    assert str(caught.value) == (
        "num_layers: 5 blocks can't be trained, the model has 4. Give at most 4, or -1 for all."
    )


def test_keys_choose_layers_and_a_wrong_one_is_named(model: Path) -> None:
    net = loaded(model)
    config = config_of(lora_parameters=LoraParameters(keys=["self_attn.q_proj"], alpha=16))
    described = make_trainable(net, config)

    assert {name.split("layers.")[1][2:] for name in weights_of(net)} == {
        "self_attn.q_proj.lora_a",
        "self_attn.q_proj.lora_b",
    }
    assert described["lora_parameters"] == {
        "rank": 8,
        "scale": 2.0,
        "dropout": 0.0,
        "keys": ["self_attn.q_proj"],
    }
    wrong = config_of(lora_parameters=LoraParameters(keys=["self_attn.q_prj", "xyz"]))
    with pytest.raises(LoraError) as caught:
        make_trainable(loaded(model), wrong)
    assert str(caught.value) == (
        "2 problems:\n"
        "  - lora_parameters.keys: the model has no layer 'self_attn.q_prj'."
        " Did you mean 'self_attn.q_proj'?\n"
        "  - lora_parameters.keys: the model has no layer 'xyz'."
    )


def test_a_layer_that_takes_no_adapter_is_refused(model: Path) -> None:
    config = config_of(lora_parameters=LoraParameters(keys=["input_layernorm"]))
    with pytest.raises(LoraError, match=r"^fine_tune_type lora: Can't convert layer of type RMS"):
        make_trainable(loaded(model), config)


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_from_a_saved_adapter(
    kind: Any, model: Path, adapters: dict[str, Path]
) -> None:
    wanted = read_weights(adapters[kind] / ADAPTER_WEIGHTS)
    for given in (adapters[kind], adapters[kind] / ADAPTER_WEIGHTS):
        net = loaded(model)
        described = make_trainable(net, config_of(fine_tune_type=kind))
        start_from(net, str(given), described)
        assert distance(copied(net), wanted) == 0


def refusal(model: Path, file: Path, **options: Any) -> str:
    net = loaded(model)
    described = make_trainable(net, config_of(**options))
    before = copied(net)
    with pytest.raises(LoraError) as caught:
        start_from(net, str(file), described)
    assert distance(copied(net), before) == 0
    return str(caught.value)


def test_an_adapter_that_was_trained_otherwise_is_no_start(
    model: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = adapters["lora"]
    other_rank = {"lora_parameters": LoraParameters(rank=4)}
    text = refusal(model, folder, **other_rank)
    assert text.startswith(f"resume_adapter_file: {folder / ADAPTER_WEIGHTS} was trained otherwise")
    assert "rank was 8, now it is 4" in text
    text = refusal(model, folder, lora_parameters=LoraParameters(scale=2.0))
    assert "scale was 20.0, now it is 2.0" in text
    text = refusal(model, adapters["dora"])
    assert "fine_tune_type was dora, now it is lora" in text

    # A copied file has no config beside it: then the shapes say it.
    alone = shutil.copy(folder / ADAPTER_WEIGHTS, tmp_path / "alone.safetensors")
    text = refusal(model, Path(alone), **other_rank)
    assert "does not fit this model" in text
    assert "lora_a is (64, 8), this model needs (64, 4)" in text
    text = refusal(model, Path(alone), num_layers=1)
    assert "model.layers.2.mlp.down_proj.lora_a has no place in this model" in text
    assert "and 8 more" in text
    text = refusal(model, Path(alone), num_layers=3)
    assert "model.layers.1.mlp.down_proj.lora_a is missing" in text


def test_a_numbered_checkpoint_of_mlx_lm_is_compared_with_the_config_beside_it(
    model: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    copy = edited(adapters["lora"], tmp_path)
    numbered = (copy / ADAPTER_WEIGHTS).rename(copy / "0000100_adapters.safetensors")
    text = refusal(model, numbered, lora_parameters=LoraParameters(scale=2.0))
    assert "scale was 20.0, now it is 2.0" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"can't be read: .*Is it complete\?"),
        (b"\x10\0\0\0\0\0\0\0{", r"can't be read: .*Is it complete\?"),
    ],
)
def test_a_damaged_file_is_no_start(
    content: bytes, words: str, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    net = loaded(model)
    with pytest.raises(LoraError, match=words):
        start_from(net, str(file), make_trainable(net, config_of()))


def test_weights_that_are_no_numbers_and_files_without_any(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    net = loaded(model)
    described = make_trainable(net, config_of())
    broken = {name: mx.full(weight.shape, mx.nan) for name, weight in copied(net).items()}
    mx.save_safetensors(str(file), broken)
    with pytest.raises(LoraError, match=r"holds NaN or infinite weights, e\.g\. in model\.layers"):
        start_from(net, str(file), described)
    mx.save_safetensors(str(file), {})
    with pytest.raises(LoraError, match=r"holds no weights\."):
        start_from(net, str(file), described)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_another_model_is_refused_and_leaves_the_model_alone(
    kind: str, home: Path, adapters: dict[str, Path]
) -> None:
    smaller = model_folder(home, "llama", 1, 2)
    net = loaded(smaller)
    base, layers = logits(net), dict(net.named_modules())
    with pytest.raises(LoraError) as caught:
        put_on(net, adapters[kind])
    assert "does not fit this model. Was it trained on another model" in str(caught.value)
    assert "model.layers.2." in str(caught.value)
    assert dict(net.named_modules()) == layers
    np.testing.assert_array_equal(logits(net), base)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora_parameters": {"rank": 4, "scale": 20.0, "dropout": 0.0}}, "does not fit this"),
        ({"lora_parameters": {"scale": 20.0, "dropout": 0.0}}, "rank is None, which is no rank"),
        ({"lora_parameters": None}, "lora_parameters is missing"),
        ({"num_layers": 1}, "has no place in this model"),
        ({"fine_tune_type": "dora"}, ".m is missing"),
    ],
)
def test_an_adapter_with_another_config_is_refused(
    changes: dict[str, Any], words: str, model: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    net = loaded(model)
    base, layers = logits(net), dict(net.named_modules())
    with pytest.raises(LoraError) as caught:
        put_on(net, edited(adapters["lora"], tmp_path, **changes))
    assert words in str(caught.value)
    assert dict(net.named_modules()) == layers
    np.testing.assert_array_equal(logits(net), base)


def test_an_adapter_that_fits_some_layers_only_is_taken_off_again(
    model: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    net = loaded(model)
    layers = dict(net.named_modules())
    parameters = {"rank": 8, "scale": 20.0, "dropout": 0.0}
    keys = ["self_attn.q_proj", "model.norm"]
    adapter = edited(adapters["lora"], tmp_path, lora_parameters={**parameters, "keys": keys})
    with pytest.raises(LoraError, match="does not fit this model: Can't convert layer of type RMS"):
        put_on(net, adapter)
    assert dict(net.named_modules()) == layers


def test_an_adapter_without_a_config(
    model: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    copy = edited(adapters["lora"], tmp_path)
    file = copy / ADAPTER_CONFIG
    for content, words in (
        ("{", "can't be read"),
        ("{}", r"is no adapter config \(num_layers is missing\)"),
        ("[]", r"it holds no JSON object"),
    ):
        file.write_text(content)
        with pytest.raises(LoraError, match=words):
            put_on(loaded(model), copy)
    file.unlink()
    with pytest.raises(LoraError, match=rf"has no {ADAPTER_CONFIG}, so its shape is unknown"):
        put_on(loaded(model), copy)


def test_the_vocabulary_is_as_large_as_the_logits(model: Path) -> None:
    assert logits(loaded(model)).shape == (1, 17, VOCAB)
