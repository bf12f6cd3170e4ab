"""Adapters of random weights on the reference models, and fusing in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lora_nb.config import ModelOptions
from lora_nb.core.convert import Converted
from lora_nb.core.load import load_base
from lora_nb.core.model_folder import write_model
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import flat
from lora_nb.export.fuse import fused, lay_on
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.conformance.families.kit import config_of, loaded, loaded_lazily

REFERENCE = Path(__file__).resolve().parent / "reference"


def random_adapter(folder: Path, model: Path, size: float = 0.05, **options: Any) -> Path:
    """An adapter of the kind that the options say, none of its weights without effect."""
    config = config_of(model, **({"num_layers": -1} | options))
    net = loaded(model).model
    described = make_trainable(net, config)
    random = np.random.default_rng(7)
    weights = {}
    for name, weight in flat(net.trainable_parameters()).items():
        noise = random.standard_normal(weight.shape).astype(np.float32)
        old = np.array(weight.astype(mx.float32))
        add = 0.0 if name.endswith("lora_a") else noise * (size if "lora_b" in name else 0.05)
        weights[name] = mx.array(old + add)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / ADAPTER_WEIGHTS), weights)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(described))
    return folder


def fuse(model: Path, adapter: Path, target: Path, *, dequantize: bool = False) -> Converted:
    """Write the fused model; what is returned is used up."""
    lazily = loaded_lazily(model)
    made = fused(lazily, lay_on(lazily, adapter, dequantize=dequantize), dequantize=dequantize)
    write_model(made, model, target, lambda done, total: None, option="save_path")
    return made


def on(model: Path, adapter: Path) -> nn.Module:
    """The model with an adapter."""
    from lora_nb.core.adapters import put_on

    net = load_base(model, ModelOptions(model=str(model))).model
    put_on(net, adapter)
    return net
