"""Packed rows: of no family does one see another, and each has the loss that it has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lora_nb.core.batching import Split
from lora_nb.core.forward import Forward
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.packed import check_packing
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import flat, value_of
from lora_nb.data.packing import pack
from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded
from lora_nb.errors import LoraError
from tests.conformance.families.kit import NAMES, config_of, loaded, model_folder

LENGTHS = (25, 40, 9, 17, 2, 30)
# Their positions depend on the length of the whole sequence.
REFUSED = {"llama-dynamic", "phi3-long", "phi3-short"}
# Their attention takes one mask for a whole batch.
ALONE = {"gemma2"}
FITTING = [name for name in NAMES if name not in REFUSED]


def rows(seed: int = 0) -> Prepared:
    """Rows of random tokens; the first half of each is a prompt."""
    random = np.random.default_rng(seed)
    encoded = []
    for length in LENGTHS:
        ids = random.integers(4, 90, length).astype(np.int32)
        encoded.append(Encoded(ids, np.arange(length) >= max(1, length // 2), "text"))
    return Prepared(encoded, [f"r:{n}" for n in range(len(LENGTHS))], list(range(len(LENGTHS))))


def changed(prepared: Prepared, number: int) -> Prepared:
    """The same rows, one of them with other tokens."""
    encoded = list(prepared.encoded)
    old = encoded[number]
    encoded[number] = Encoded(old.ids[::-1] + 1, old.trained, old.kind)
    return Prepared(encoded, prepared.where, prepared.row)


def loss_and_gradient(
    model: nn.Module, prepared: Prepared, size: int
) -> tuple[float, dict[str, mx.array]]:
    """The loss summed over all rows, and its gradient, in batches of `size` sequences."""
    split = Split.of(prepared, size, 0, shuffle=True)
    forward = Forward(model)
    assert forward.suit(model, split.batch(0)) == []
    total, gradients = 0.0, dict[str, mx.array]()
    for step in range(split.plan.per_epoch):
        inputs = forward.inputs(split.batch(step))
        loss, found = nn.value_and_grad(model, forward.loss)(model, inputs)
        total += value_of(loss)
        for key, value in flat(found).items():
            gradients[key] = gradients[key] + value if key in gradients else value
        mx.eval(gradients)
    return total, gradients


def adapted(name: str, home: Path) -> nn.Module:
    """A reference model with an adapter that is not zero."""
    folder = model_folder(home, name)
    model = loaded(folder).model
    make_trainable(model, config_of(folder, num_layers=-1, lora_parameters={"rank": 4}))
    mx.random.seed(1)
    weights = {
        key: mx.random.normal(value.shape) * 0.05
        for key, value in flat(model.trainable_parameters()).items()
    }
    model.load_weights(list(weights.items()), strict=False)
    model.train()
    return model


@pytest.mark.parametrize("name", FITTING)
def test_the_loss_and_its_gradient_are_those_of_the_rows_alone(name: str, home: Path) -> None:
    model = adapted(name, home)
    alone, of_alone = loss_and_gradient(model, rows(), 1)
    packed = pack(rows(), 64, 0)
    assert len(packed) < len(LENGTHS) / 2
    check_packing(model, loaded(model_folder(home, name)).config, packed, 1 if name in ALONE else 2)
    for size in (1,) if name in ALONE else (1, 2, 3):
        together, of_together = loss_and_gradient(model, packed, size)
        assert together == pytest.approx(alone, rel=1e-5)
        assert of_together.keys() == of_alone.keys()
        for key, value in of_alone.items():
            scale = float(mx.abs(value).max())
            assert float(mx.abs(of_together[key] - value).max()) <= 1e-4 * max(scale, 1.0), key


@pytest.mark.parametrize("name", FITTING)
def test_no_row_sees_another(name: str, home: Path) -> None:
    model = adapted(name, home)
    model.eval()
    forward = Forward(model)

    def losses(prepared: Prepared) -> dict[int, float]:
        """The loss of each row, in one sequence with all others."""
        (whole,) = pack(prepared, 1000, 0).encoded
        assert whole.parts is not None
        found = {}
        for number in range(len(LENGTHS)):
            only = Encoded(
                whole.ids, whole.trained & (whole.parts == number), "text", 0, whole.parts
            )
            split = Split.of(Prepared([only], ["x"], [0]), 1, 0, shuffle=False)
            found[number] = value_of(forward.loss(model, forward.inputs(split.batch(0))))
        return found

    before, order = losses(rows()), np.argsort(-np.array(LENGTHS), kind="stable").tolist()
    for number in range(len(LENGTHS)):
        after = losses(changed(rows(), order[number]))
        assert [n for n in before if after[n] != before[n]] == [number]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_families_that_count_the_whole_sequence_are_refused(name: str, home: Path) -> None:
    model = loaded(model_folder(home, name))
    with pytest.raises(LoraError, match=r"^packing: .*: its positions depend on the length"):
        check_packing(model.model, model.config, pack(rows(), 64, 0), 2)


@pytest.mark.parametrize("name", sorted(ALONE))
def test_families_with_one_mask_for_a_batch(name: str, home: Path) -> None:
    model = loaded(model_folder(home, name))
    packed = pack(rows(), 64, 0)
    check_packing(model.model, model.config, packed, 1)
    with pytest.raises(LoraError, match=r"one mask for a whole batch \(--batch-size 1 would do\)"):
        check_packing(model.model, model.config, packed, 2)


def test_the_trial_finds_them_too(home: Path) -> None:
    model = loaded(model_folder(home, "llama-dynamic")).model
    with pytest.raises(LoraError, match="the loss of a row depends on its place in a sequence"):
        check_packing(model, {}, pack(rows(), 64, 0), 2)


def test_a_model_that_lets_rows_see_each_other_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(model_folder(home, "llama")).model
    kind = type(model.layers[0])
    plain: Any = kind.__call__

    def mean_of_all(self: Any, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        before: mx.array = mx.cumsum(x, axis=1) / mx.arange(1, 1 + x.shape[1])[None, :, None]
        after: mx.array = plain(self, x, mask, cache)
        return after + before

    with monkeypatch.context() as patch:
        patch.setattr(kind, "__call__", mean_of_all)
        with pytest.raises(LoraError, match="it lets the rows of a sequence see each other"):
            check_packing(model, {}, pack(rows(), 64, 0), 2)
    monkeypatch.setattr(kind, "__call__", lambda self, x, mask: plain(self, x, mask))
    with pytest.raises(LoraError, match="it takes no mask of ours"):
        check_packing(model, {}, pack(rows(), 64, 0), 2)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "mistral-window", "mixtral"])
def test_activations_may_be_recomputed(name: str, home: Path) -> None:
    model = adapted(name, home)
    packed = pack(rows(), 64, 0)
    plain, of_plain = loss_and_gradient(model, packed, 2)
    kinds = {kind: kind.__call__ for kind in {type(block) for block in model.layers}}
    try:
        checkpoint_gradients(model)
        again, of_again = loss_and_gradient(model, packed, 2)
    finally:
        for kind, call in kinds.items():
            kind.__call__ = call
    assert again == pytest.approx(plain, rel=1e-6)
    for key, value in of_plain.items():
        assert mx.allclose(of_again[key], value, rtol=1e-4, atol=1e-4), key


def test_a_training(home: Path, tmp_path: Path) -> None:
    from lora_nb.runs import attach, launch
    from lora_nb.runs.events import Ended, Notice, TrainLoss

    options: dict[str, Any] = {"packing": True, "batch_size": 1, "steps_per_report": 2}
    folder = model_folder(home, "llama")
    config = config_of(folder, max_seq_length=64, adapter_path=str(tmp_path / "a"), **options)
    run = launch.start(config, tmp_path / "runs")
    assert attach.wait(run, 120), run.log_tail()
    events = [record.event for record in run.records()]
    (end,) = [event for event in events if isinstance(event, Ended)]
    assert end.status == "completed", end.message
    (note,) = [e.message for e in events if isinstance(e, Notice) and "Packing" in e.message]
    assert note.startswith("Packing: 8 rows in ")
    assert len([event for event in events if isinstance(event, TrainLoss)]) == 2
