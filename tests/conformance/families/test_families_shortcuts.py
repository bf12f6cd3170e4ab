"""Every family by the short ways: the trunk's cache, and logits for targets alone."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lora_nb.core import targets
from lora_nb.core.batching import Split
from lora_nb.core.forward import Forward
from lora_nb.core.loop import Trainer
from lora_nb.core.loss import summed_loss
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.targets import has_body, picked_loss, picks_of
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import flat, value_of
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.data.packing import pack
from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded
from tests.conformance.families.kit import FAMILIES, config_of, convert, loaded, model_folder
from tests.conformance.families.kit import split_of as rows_of
from tests.unit.core.kit import Outside, copied, distance, stir

# Its positions depend on the length of a batch.
BY_LENGTH = {"phi3-long", "llama-dynamic"}
ENTERED = sorted({*FAMILIES} - BY_LENGTH)
KINDS = ["lora", "dora", "full", "qlora"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shortcuts")


def packed(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}-4bit")
    if not target.exists():
        convert(folder, target, quantize=True, q_group_size=32)
    return target


def train_with(folder: Path, place: str, **options: Any) -> tuple[list[float], dict[str, mx.array]]:
    """Losses and weights after training the last block alone, the frozen one cached in `place`."""
    net = loaded(folder).model
    usual: dict[str, Any] = {"num_layers": 1, "batch_size": 3, "iters": 6}
    config = config_of(folder, trunk_cache=place, **(usual | options))
    make_trainable(net, config)
    made = rows_of(config).prepared
    if config.packing:
        made = pack(made, config.max_seq_length, config.seed)
        assert len(made) < 6
    train = Split.of(made, config.batch_size, config.seed, shuffle=True, name="train")
    plan = plan_trunk(net, config, {"train": train}, steps=6, folder=folder)
    assert isinstance(plan, TrunkPlan) == (place != "off")
    trunk = plan.trunk if isinstance(plan, TrunkPlan) else None
    forward = Forward(net, trunk)
    assert forward.suit(net, train.batch(0)) == []
    assert forward.trunk is trunk
    outside = Outside()

    def after(_step: int) -> None:
        if isinstance(plan, TrunkPlan):
            plan.release_when_complete()

    trainer = Trainer(
        net, make_optimizer(config), config, train, None, outside.events.append, outside.save,
        outside, forward, after,
    )  # fmt: skip
    trainer.run()
    assert trunk is None or trunk.released
    assert len(outside.losses) == 6
    return outside.losses, copied(net)


def check_same(folder: Path, **options: Any) -> None:
    """The cache changes no bit of losses and weights."""
    without, learnt = train_with(folder, "off", **options)
    with_it, same = train_with(folder, "memory", **options)
    assert with_it == without
    assert distance(same, learnt) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENTERED)
def test_a_cached_trunk_changes_no_bit(name: str, kind: str, base: Path) -> None:
    folder = model_folder(base, name)
    if kind == "qlora":
        folder, kind = packed(folder), "lora"
    options: dict[str, Any] = {"fine_tune_type": kind}
    if kind == "dora" and name == "mixtral":
        options["lora_parameters"] = {"keys": ["self_attn.q_proj"]}
    check_same(folder, **options)


@pytest.mark.parametrize("name", ENTERED)
def test_nor_does_it_with_packed_rows(name: str, base: Path) -> None:
    size = 1 if name == "gemma2" else 2
    check_same(model_folder(base, name), packing=True, max_seq_length=180, batch_size=size)


@pytest.mark.parametrize("name", sorted(BY_LENGTH))
def test_where_positions_depend_on_the_batch_nothing_is_kept(name: str, base: Path) -> None:
    folder = model_folder(base, name)
    config = config_of(folder, num_layers=1)
    net = loaded(folder).model
    make_trainable(net, config)

    def planned(longest: int) -> object:
        sizes = (4, longest)
        rows = [Encoded(np.arange(n, dtype=np.int32), np.ones(n, bool), "text") for n in sizes]
        made = Prepared(rows, ["r:1", "r:2"], [0, 1])
        train = Split.of(made, 2, 0, shuffle=True, name="train")
        return plan_trunk(net, config, {"train": train}, steps=9, folder=folder)

    assert isinstance(planned(17), TrunkPlan)
    assert str(planned(18)).startswith(
        "No trunk cache: beyond 16 tokens this model's positions depend on the length of the batch"
    )


@pytest.mark.parametrize("chunk", [1 << 28, 4 * 96 * 32], ids=["whole", "chunks"])
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_targets_alone_give_the_same_loss_and_gradient(
    name: str, chunk: int, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_CHUNK_BYTES", chunk)
    folder = model_folder(base, name)
    config = config_of(folder, num_layers=-1, batch_size=8)
    net = loaded(folder).model
    make_trainable(net, config)
    stir(net)
    net.train()
    batch = rows_of(config).batch(0)
    assert has_body(net)
    assert batch.picks is not None
    assert batch.count > 96 // 2

    plain, wanted = nn.value_and_grad(net, summed_loss)(net, batch.tokens, batch.trained)
    picked, found = nn.value_and_grad(net, picked_loss)(net, batch.tokens, batch.picks)

    assert value_of(picked) == pytest.approx(value_of(plain), rel=1e-6)
    gradients, others = flat(found), flat(wanted)
    largest = max(value_of(mx.abs(each).max()) for each in others.values())
    assert gradients.keys() == others.keys()
    assert distance(gradients, others) < 1e-5 * largest


SCALED: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 0.25},
    "granite": {
        "logits_scaling": 8.0,
        "embedding_multiplier": 12.0,
        "attention_multiplier": 0.1,
        "residual_multiplier": 0.2,
    },
    "minicpm": {"dim_model_base": 8, "scale_depth": 1.4, "scale_emb": 12.0},
}


@pytest.mark.parametrize("family", sorted(SCALED))
def test_heads_that_scale_their_logits(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families beyond those that are trained here, for their heads alone."""
    monkeypatch.setattr(targets, "_CHUNK_BYTES", 4 * 96 * 32)
    code = importlib.import_module(f"mlx_lm.models.{family}")
    common = {
        "model_type": family, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 32,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96, "rms_norm_eps": 1e-5,
        "rope_theta": 1e4, "max_position_embeddings": 64, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False,
    }  # fmt: skip
    mx.random.seed(0)
    net = code.Model(code.ModelArgs.from_dict(common | SCALED[family]))
    net.freeze()
    net.layers[-1].unfreeze()
    net.train()
    random = np.random.default_rng(0)
    tokens = mx.array(random.integers(3, 96, (4, 40)))
    trained = random.random((4, 40)) < 0.7

    plain, wanted = nn.value_and_grad(net, summed_loss)(net, tokens, mx.array(trained))
    picked, found = nn.value_and_grad(net, picked_loss)(net, tokens, picks_of(trained))

    assert value_of(picked) == pytest.approx(value_of(plain), rel=1e-6)
    gradients, others = flat(found), flat(wanted)
    largest = max(value_of(mx.abs(each).max()) for each in others.values())
    assert largest > 1e-3
    assert distance(gradients, others) < 1e-5 * largest
