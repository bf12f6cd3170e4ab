"""Trained arrays as one: the same training, in fewer operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest

from lora_nb.core import step
from lora_nb.core.joined import JOINED, Layout, layout_of
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.step import Stepper
from lora_nb.core.trees import Weights, flat, value_of
from tests.unit.core.kit import batch_of, config_of, copied, encoded, trainable

TREE = {
    "layers": [{}, {"a": mx.arange(6.0).reshape(2, 3)}, {"b": {"c": mx.array([7.0])}}],
    "m": mx.arange(4.0).reshape(4, 1),
}
BATCH = [encoded(12, 1), encoded(9, 2)]


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and mx.array_equal(one[name], other[name]).item()
        for name in one
    )


def test_a_tree_is_one_array_and_comes_back() -> None:
    layout = layout_of(TREE, optim.Adam(1e-3), set())
    whole = layout.join(TREE)
    assert list(whole) == [JOINED]
    assert whole[JOINED].shape == (11,)
    assert equal(flat(layout.split(whole)), flat(TREE))
    assert equal(flat(layout.split(whole, half=True)), flat(TREE))


def test_those_for_bfloat16_are_handed_out_so_and_their_gradients_taken_so() -> None:
    layout = layout_of(TREE, optim.Adam(1e-3), {"layers.2.b.c", "another"})
    whole = layout.join(TREE)
    ready = flat(layout.split(whole, half=True))
    halves = {name for name, array in ready.items() if array.dtype == mx.bfloat16}
    assert halves == {"layers.2.b.c"}
    back = layout.join(layout.split(whole, half=True))
    assert back[JOINED].dtype == mx.float32
    assert equal(flat(layout.split(back)), flat(TREE))
    assert equal(flat(layout.split(whole)), flat(TREE))


@pytest.mark.parametrize(
    ("tree", "optimizer"),
    [
        (TREE, optim.Adafactor()),
        (TREE, optim.Muon(1e-3)),
        ({"a": mx.zeros((4, 4), mx.bfloat16), "b": mx.zeros(4)}, optim.Adam(1e-3)),
        ({"a": mx.zeros((2048, 1024))}, optim.Adam(1e-3)),
    ],
    ids=["adafactor", "muon", "a bfloat16 one", "large ones"],
)
def test_others_stay_apart(tree: Any, optimizer: optim.Optimizer) -> None:
    layout = layout_of(tree, optimizer, set())
    assert layout.parts == ()
    assert equal(flat(layout.join(tree)), flat(tree))
    assert layout.split(tree) is tree


OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "adam", "fine_tune_type": "dora"},
    {"optimizer": "adamw", "optimizer_config": {"adamw": {"weight_decay": 0.1}}},
    {"optimizer": "sgd", "optimizer_config": {"sgd": {"momentum": 0.9}}},
]


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: options["optimizer"])
def test_training_is_the_same_as_with_each_array_by_itself(
    options: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> tuple[list[float], Weights, Weights, Weights]:
        config = config_of(learning_rate=1e-2, **options)
        net = trainable(model, config)
        stepper = Stepper(net, make_optimizer(config), seed=0)
        results = [stepper(batch_of(BATCH), n, update=n != 4) for n in (1, 2, 3, 4)]
        norms = [value_of(result.norm) for result in results]
        return norms, copied(net), stepper.optimizer_state, stepper.carried

    together = trained()
    monkeypatch.setattr(step, "layout_of", lambda *_: Layout())
    apart = trained()

    assert together[0] == pytest.approx(apart[0], rel=1e-6)
    assert all(equal(*pair) for pair in zip(together[1:], apart[1:], strict=True))
    assert len(together[3]) == len(together[1]) + 1


def test_a_model_in_bfloat16_trains_with_bfloat16_products(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "on_cuda", lambda: True)
    config = config_of(learning_rate=1e-2)
    net = trainable(model, config)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.set_dtype(mx.bfloat16)
    before = copied(net)
    stepper = Stepper(net, make_optimizer(config), seed=0)
    result = stepper(batch_of(BATCH), 1, update=True)
    after = copied(net)
    assert {array.dtype for array in after.values()} == {mx.float32}
    assert value_of(result.norm) > 0
    assert not equal(before, after)
    assert any(part.half for part in stepper._layout.parts)
    assert list(flat(stepper.state[0])) == [f"weights.{JOINED}"]
