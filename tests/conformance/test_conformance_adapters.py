"""Adapters go both ways between mlx-lm and us, and its commands take ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.utils import load

from lora_nb.config import LoraParameters
from lora_nb.core.adapters import put_on, read_weights
from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.trainable import make_trainable, start_from
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from tests.tiny import EOS, program
from tests.unit.core.kit import (
    Outside,
    config_of,
    copied,
    distance,
    loaded,
    split_of,
    trainable,
    trainer_of,
)

Logits = np.ndarray[Any, Any]


def logits(net: nn.Module) -> Logits:
    net.eval()
    return np.array(net(mx.array(np.arange(3, 20, dtype=np.int32))[None]))


def trained(folder: Path, model: Path, **options: Any) -> tuple[Path, Logits]:
    """The adapter of a short training, and what the model then says."""
    config = config_of(model=str(model), iters=3, learning_rate=1e-3, **options)
    net = trainable(model, config)
    described = make_trainable(loaded(model), config)
    trainer_of(net, config, split_of([9, 12, 20], config), Outside()).run()
    writer = CheckpointWriter(folder / "checkpoints", folder / "adapters", described)
    writer.prepare()
    writer.save(3, net, {}, {}, {})
    return folder / "adapters", logits(net)


VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"lora_parameters": LoraParameters(rank=4, dropout=0.1)},
    "alpha": {"lora_parameters": LoraParameters(rank=4, alpha=6, keys=["mlp.up_proj"])},
    "dora": {"fine_tune_type": "dora", "num_layers": -1},
    "full": {"fine_tune_type": "full", "num_layers": 1},
}


@pytest.fixture(scope="module")
def ours(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Logits]]:
    """Our adapters and the logits of their models."""
    return {
        name: trained(tmp_path_factory.mktemp(name), model, **options)
        for name, options in VARIANTS.items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_mlx_lm_loads_our_adapters(
    variant: str, model: Path, ours: dict[str, tuple[Path, Logits]]
) -> None:
    folder, wanted = ours[variant]
    net, tokenizer = load(str(model), adapter_path=str(folder))[:2]
    np.testing.assert_allclose(logits(net), wanted, rtol=0, atol=1e-5)
    assert np.abs(wanted - logits(loaded(model))).max() > 1e-3
    assert EOS in tokenizer.eos_token_ids


def mlx_lm(command: str, *words: str) -> str:
    done = program(sys.executable, "-m", "mlx_lm", command, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mlx_lm_fuses_our_adapter(
    model: Path, ours: dict[str, tuple[Path, Logits]], tmp_path: Path
) -> None:
    folder, wanted = ours["lora"]
    fused = tmp_path / "fused"
    mlx_lm("fuse", "--model", str(model), "--adapter-path", str(folder), "--save-path", str(fused))
    np.testing.assert_allclose(logits(load(str(fused))[0]), wanted, rtol=0, atol=1e-3)


def test_mlx_lm_generates_with_our_adapter(
    model: Path, ours: dict[str, tuple[Path, Logits]]
) -> None:
    folder, _ = ours["lora"]
    told = mlx_lm(
        "generate", "--model", str(model), "--adapter-path", str(folder),
        "--prompt", "how old is Bob?", "--max-tokens", "4",
    )  # fmt: skip
    assert "Generation: " in told


@pytest.fixture(scope="module")
def theirs(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that `mlx_lm.lora` has trained."""
    folder = tmp_path_factory.mktemp("upstream") / "adapters"
    mlx_lm(
        "lora", "--train", "--model", str(model), "--data", str(data), "--iters", "2",
        "--num-layers", "2", "--batch-size", "4", "--val-batches", "1", "--save-every", "1",
        "--learning-rate", "1e-3", "--adapter-path", str(folder),
    )  # fmt: skip
    return folder


def test_we_load_the_adapter_of_mlx_lm(model: Path, theirs: Path) -> None:
    wanted = logits(load(str(model), adapter_path=str(theirs))[0])
    net = loaded(model)
    base = logits(net)
    adapter = put_on(net, theirs)

    np.testing.assert_allclose(logits(net), wanted, rtol=0, atol=1e-5)
    adapter.off()
    np.testing.assert_array_equal(logits(net), base)


@pytest.mark.parametrize("name", [ADAPTER_WEIGHTS, "0000001_adapters.safetensors"])
def test_we_go_on_from_the_adapter_of_mlx_lm(name: str, model: Path, theirs: Path) -> None:
    net = loaded(model)
    start_from(net, str(theirs / name), make_trainable(net, config_of()))
    assert distance(copied(net), read_weights(theirs / name)) == 0


def test_our_adapter_config_says_what_mlx_lms_says(
    ours: dict[str, tuple[Path, Logits]], theirs: Path
) -> None:
    mine = json.loads((ours["lora"][0] / "adapter_config.json").read_text())
    upstream = json.loads((theirs / "adapter_config.json").read_text())
    # By the family, an adapter of another one is known.
    assert set(mine) - {"model_type"} <= set(upstream)
    assert mine["num_layers"] == upstream["num_layers"]
    assert mine["fine_tune_type"] == upstream["fine_tune_type"]
    assert set(mine["lora_parameters"]) == set(upstream["lora_parameters"])
