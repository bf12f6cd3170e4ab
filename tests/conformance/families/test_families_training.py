"""Every family learns in every way, and what it has learnt loads again, here and in mlx-lm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.utils import load as load_in_mlx_lm

from lora_nb.config import GenerateConfig, TrainConfig
from lora_nb.core.adapters import put_on
from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.dora import check_dora
from lora_nb.core.evaluate import Evaluator
from lora_nb.core.full import check_full
from lora_nb.core.generate import generate
from lora_nb.core.load import load_words
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import Weights, flat, value_of
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
from tests.conformance.families.kit import (
    FAMILIES,
    config_of,
    convert,
    distance,
    loaded,
    logits_of,
    model_folder,
    split_of,
    tokens_of,
)
from tests.unit.core.kit import Outside, trainer_of

# mlx-lm computes these otherwise whatever the config says, and can't load OLMo at all.
OTHERWISE = {"gemma", "gemma2", "phi3-long"}
KINDS = ["lora", "dora", "full"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[nn.Module], None]]:
    """Undoes what gradient checkpointing does to the classes of a model's blocks."""

    def keep(model: nn.Module) -> None:
        for kind in {type(block) for block in model.layers}:
            monkeypatch.setattr(kind, "__call__", kind.__call__)

    yield keep
    monkeypatch.undo()


def trained(folder: Path, config: TrainConfig, before: Callable[[nn.Module], None]) -> Trained:
    made = loaded(folder)
    check_dora(made, config)
    described = make_trainable(made.model, config)
    before(made.model)
    outside = Outside()
    trainer = trainer_of(made.model, config, split_of(config), outside)
    trainer.run()
    writer = CheckpointWriter(
        folder.parent / "steps", folder.parent / f"{folder.name}-a", described
    )
    writer.prepare()
    writer.save(config.iters or 0, made.model, trainer.stepper.optimizer_state, {}, {})
    made.model.eval()
    return Trained(made.model, outside.losses, writer.publish_to)


class Trained:
    """A model that has learnt, its losses, and where its adapter is."""

    def __init__(self, model: nn.Module, losses: list[float], adapter: Path) -> None:
        self.model, self.losses, self.adapter = model, losses, adapter

    @property
    def weights(self) -> Weights:
        return flat(self.model.trainable_parameters())


def check(done: Trained, folder: Path, name: str) -> None:
    """It has learnt something, which is saved."""
    assert np.isfinite(done.losses).all()
    assert done.losses[-1] < done.losses[0] - 0.02
    tokens = tokens_of(name)
    base = loaded(folder).model
    plain, learnt = logits_of(base, tokens), logits_of(done.model, tokens)
    assert distance(plain, learnt) > 1e-2
    moved = [key for key in done.weights if key.endswith("lora_b")]
    assert all(value_of(mx.abs(done.weights[key]).max()) > 0 for key in moved)
    adapter = put_on(base, done.adapter)
    assert distance(logits_of(base, tokens), learnt) < 1e-5
    adapter.off()
    assert distance(logits_of(base, tokens), plain) == 0


def check_in_mlx_lm(done: Trained, folder: Path, name: str, tolerance: float) -> None:
    model = load_in_mlx_lm(str(folder), adapter_path=str(done.adapter))[0]
    theirs = logits_of(model, tokens_of(name))
    assert np.isfinite(theirs).all()
    if name not in OTHERWISE:
        assert distance(theirs, logits_of(done.model, tokens_of(name))) < tolerance


def options_of(kind: str) -> dict[str, Any]:
    # As `full` has no factor of 20 on what it learns, it gets a larger step.
    rate = {"lora": 1e-3, "dora": 1e-3, "full": 3e-3}[kind]
    return {"fine_tune_type": kind, "num_layers": -1, "learning_rate": rate, "batch_size": 8}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_it_learns(name: str, kind: str, base: Path) -> None:
    folder = model_folder(base, name)
    options = options_of(kind)
    if kind == "dora" and name == "mixtral":
        options["lora_parameters"] = {"keys": ["self_attn.q_proj", "self_attn.v_proj"]}
    config = config_of(folder, **options, mask_prompt=kind != "dora")
    done = trained(folder, config, lambda model: None)
    check(done, folder, name)
    if kind == "lora" and not name.startswith("olmo"):
        mended = base / f"{name}-mended"
        convert(folder, mended)
        check_in_mlx_lm(done, mended, name, 1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_learns_in_four_bits(name: str, base: Path) -> None:
    """QLoRA, on the model that a conversion writes."""
    folder = model_folder(base, name)
    packed = base / f"{name}-4bit"
    made = convert(folder, packed, quantize=True, q_group_size=32)
    assert made.skipped == []
    assert loaded(packed).packed
    done = trained(packed, config_of(packed, **options_of("lora")), lambda model: None)
    check(done, packed, name)
    if not name.startswith("olmo") or name == "olmo2":
        check_in_mlx_lm(done, packed, name, 1e-3)


@pytest.mark.parametrize("options", [{"q_group_size": 32}, {"q_mode": "mxfp4"}])
def test_quantised_blocks_are_not_trained_in_full(options: dict[str, Any], base: Path) -> None:
    folder = model_folder(base, "llama")
    packed = base / "-".join(["full", *options])
    convert(folder, packed, quantize=True, **options)
    with pytest.raises(LoraError) as caught:
        check_full(loaded(packed), config_of(packed, **options_of("full")))
    assert str(caught.value) == (
        "fine_tune_type: full can't train quantised layers (e.g. "
        "model.layers.0.mlp.down_proj). Use lora or dora, which train beside them (QLoRA), or "
        f"turn the model back first: %lora_convert --model {packed} --dequantize"
    )
    check_full(loaded(packed), config_of(packed, **options_of("lora")))
    check_full(loaded(folder), config_of(folder, **options_of("full")))


@pytest.mark.parametrize("name", FAMILIES)
def test_checkpointing_gradients_changes_nothing(
    name: str, base: Path, blocks: Callable[[nn.Module], None]
) -> None:
    folder = model_folder(base, name)
    config = config_of(folder, **options_of("lora"), iters=2)

    def checkpointed(model: nn.Module) -> None:
        blocks(model)
        checkpoint_gradients(model)

    plain = trained(folder, config, lambda model: None).weights
    saving = trained(folder, config, checkpointed).weights
    assert plain.keys() == saving.keys()
    assert max(value_of(mx.abs(plain[key] - saving[key]).max()) for key in plain) < 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_tested_and_generates(name: str, base: Path) -> None:
    folder = model_folder(base, name)
    config = config_of(folder, batch_size=2)
    model = loaded(folder).model
    found = Evaluator(model)(split_of(config, "test"), -1)
    assert found is not None
    assert found.rows == 2
    assert 1 < found.loss < 40
    words = load_words(folder, config)
    asked = GenerateConfig(
        model=str(folder), prompt="1+1?", max_tokens=12, ignore_chat_template=True
    )
    pieces = list(generate(model, words, asked, resolve_template(words, None)))
    assert pieces[-1].generation_tokens >= 1
    assert "".join(piece.text for piece in pieces) == greedy(model, words.encode("1+1?"), words)


def greedy(model: nn.Module, tokens: list[int], words: Any, limit: int = 12) -> str:
    """The likeliest continuation, each token computed from the whole text before it."""
    start = len(tokens)
    for _ in range(limit):
        token = int(value_of(mx.argmax(model(mx.array([tokens]))[0, -1])))
        if token in words.eos_token_ids:
            break
        tokens = [*tokens, token]
    return str(words.decode(tokens[start:]))
