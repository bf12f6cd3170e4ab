"""Logits for targets alone: the same loss and gradient as with all of them."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lora_nb.core import targets
from lora_nb.core.loss import summed_loss
from lora_nb.core.targets import has_body, picked_loss, picks_of
from lora_nb.core.trees import value_of
from tests.unit.core.kit import batch_of, config_of, encoded, trainable

ROWS = [encoded(length, seed, masked=length // 2) for seed, length in enumerate((33, 17, 41, 12))]


def trained_of(batch_rows: int = 4) -> np.ndarray:
    return np.array(batch_of(ROWS[:batch_rows]).trained)


def test_picks_are_the_targets_and_the_rest_has_no_weight() -> None:
    trained = np.zeros((2, 6), np.bool_)
    trained[0, [1, 4]] = True
    trained[1, 5] = True

    places, weights = (np.array(part) for part in picks_of(trained))

    assert len(places) == len(weights) == 32
    assert places[weights].tolist() == [0, 3, 9]
    assert weights.sum() == 3
    assert picks_of(np.zeros((1, 4), np.bool_))[1].sum().item() == 0


@pytest.mark.parametrize("chunk_bytes", [1 << 28, 4 * 384 * 32], ids=["whole", "chunks"])
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_loss_and_gradient_are_those_of_all_logits(
    model: Path, kind: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_CHUNK_BYTES", chunk_bytes)
    net = trainable(model, config_of(fine_tune_type=kind))
    batch = batch_of(ROWS)

    plain, plain_grads = nn.value_and_grad(net, summed_loss)(net, batch.tokens, batch.trained)
    picked, grads = nn.value_and_grad(net, picked_loss)(net, batch.tokens, picks_of(trained_of()))

    assert value_of(picked) == pytest.approx(value_of(plain), rel=1e-6)
    for name, gradient in dict(tree_flatten(grads)).items():
        wanted = dict(tree_flatten(plain_grads))[name]
        assert value_of(mx.abs(gradient - wanted).max()) < 1e-4, name
    assert value_of(mx.abs(dict(tree_flatten(grads))[name]).max()) > 1e-4


def test_the_chunks_loss_is_scaled_by_what_is_done_with_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_CHUNK_BYTES", 4 * 384 * 32)
    net = trainable(model, config_of())
    batch, picks = batch_of(ROWS), picks_of(trained_of())

    _, once = nn.value_and_grad(net, picked_loss)(net, batch.tokens, picks)
    _, thrice = nn.value_and_grad(net, lambda *given: 3 * picked_loss(*given))(
        net, batch.tokens, picks
    )

    one, three = dict(tree_flatten(once)), dict(tree_flatten(thrice))
    for name, gradient in one.items():
        assert value_of(mx.abs(3 * gradient - three[name]).max()) < 1e-3, name


def test_the_model_is_as_it_was_afterwards(model: Path) -> None:
    net = trainable(model, config_of())
    body, names = net.model, [name for name, _ in net.named_modules()]

    mx.eval(picked_loss(net, batch_of(ROWS).tokens, picks_of(trained_of())))

    assert net.model is body
    assert [name for name, _ in net.named_modules()] == names


def test_a_model_without_a_body_is_known() -> None:
    assert not has_body(nn.Linear(2, 2))
