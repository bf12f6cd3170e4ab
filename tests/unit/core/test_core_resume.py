"""A training that goes on from a checkpoint equals one that was never interrupted, bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from lora_nb.config import TrainConfig
from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.loop import Outcome, Trainer
from lora_nb.core.model_key import model_key
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.resume import data_key, newest_whole, put_back
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError
from lora_nb.runs.control import Request
from lora_nb.runs.events import Event, LearningRateSet, Notice, Record, Resumed
from lora_nb.worker.resume import _rates
from tests.unit.core.kit import Outside, config_of, copied, encoded, loaded, split_of, stir

LENGTHS = [9, 12, 20, 7, 15, 11, 8]
STEPS = 9


@dataclass
class Run:
    """A training in this process with checkpoints in a folder."""

    net: nn.Module
    trainer: Trainer
    outside: Outside
    folder: Path = field(default_factory=Path)

    @property
    def optimizer_state(self) -> Weights:
        return self.trainer.stepper.optimizer_state


def run_of(model: Path, folder: Path, config: TrainConfig, **outside: Any) -> Run:
    net = loaded(model)
    described = make_trainable(net, config)
    stir(net)
    net.train()
    writer = CheckpointWriter(folder / "checkpoints", folder / "published", described)
    writer.prepare()
    seen = Outside(**outside)
    optimizer = make_optimizer(config)

    def save(step: int, best: bool) -> None:
        seen.save(step, best)
        state = trainer.as_state() | {"learning_rate": config.learning_rate}
        stepper, best_step = trainer.stepper, trainer.best.saved_step
        writer.save(step, net, stepper.optimizer_state, stepper.carried, state, best_step)

    trainer = Trainer(
        model=net,
        optimizer=optimizer,
        config=config,
        train=split_of(LENGTHS, config),
        valid=split_of([9] * 4, config, shuffle=False),
        emit=seen.events.append,
        save=save,
        requests=seen,
    )
    return Run(net, trainer, seen, folder)


def interrupted(model: Path, folder: Path, config: TrainConfig, stops: list[int]) -> Run:
    """The training stopped after each of these steps, each time going on in a new one."""
    run = run_of(model, folder, config, stop_at=stops[0])
    run.trainer.run()
    for stop in [*stops[1:], None]:
        run = run_of(model, folder, config, stop_at=stop)
        saved, damaged = newest_whole(folder / "checkpoints")
        assert saved is not None
        assert damaged == []
        put_back(saved, run.net, run.trainer.stepper)
        run.trainer.restore(saved.step, saved.state)
        run.trainer.run()
    return run


def curve_of(run: Run) -> list[tuple[float, ...]]:
    return [(r.step, r.loss, r.trained_tokens, r.grad_norm) for r in run.outside.reports]


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        mx.array_equal(one[name], other[name], equal_nan=True).item() for name in one
    )


CASES: list[dict[str, Any]] = [
    {},
    {"grad_accumulation_steps": 4},
    {"lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.3}},
    {"fine_tune_type": "dora", "optimizer": "adamw"},
    {"fine_tune_type": "full", "num_layers": 1, "optimizer": "adafactor"},
    {"optimizer": "muon"},
    {"fine_tune_type": "full", "num_layers": 1, "optimizer": "muon", "grad_accumulation_steps": 3},
    {"optimizer": "sgd", "max_grad_norm": 0.5},
    {
        "lr_schedule": {"name": "cosine_decay", "arguments": [1e-3, 9], "warmup": 3},
        "grad_checkpoint": True,
    },
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(options) or "plain")
def test_a_resumed_training_equals_an_uninterrupted_one(
    options: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    config = config_of(iters=STEPS, steps_per_report=3, steps_per_eval=4, **options)
    whole = run_of(model, tmp_path / "whole", config)
    whole.trainer.run()
    parts = interrupted(model, tmp_path / "parts", config, [2, 5])

    assert same(copied(whole.net), copied(parts.net))
    assert same(whole.optimizer_state, parts.optimizer_state)
    assert whole.trainer.best == parts.trainer.best
    assert curve_of(parts) == curve_of(whole)[-2:]
    assert parts.outside.validations[-1].loss == whole.outside.validations[-1].loss


def test_the_weights_alone_do_not_give_the_same(model: Path, tmp_path: Path) -> None:
    config = config_of(iters=STEPS)
    whole = run_of(model, tmp_path / "whole", config)
    whole.trainer.run()
    first = run_of(model, tmp_path / "parts", config, stop_at=5)
    first.trainer.run()
    saved, _ = newest_whole(tmp_path / "parts" / "checkpoints")
    assert saved is not None
    rest = run_of(model, tmp_path / "rest", config)
    rest.net.load_weights(list(saved.weights.items()), strict=False)
    rest.trainer.stepper.take_weights()
    rest.trainer.start = saved.step
    rest.trainer.run()
    assert not same(copied(whole.net), copied(rest.net))


def test_a_validation_that_a_stop_cut_off_is_made_up_for(model: Path, tmp_path: Path) -> None:
    config = config_of(iters=STEPS, steps_per_eval=4, val_batches=2)
    whole = run_of(model, tmp_path / "whole", config)
    whole.trainer.run()
    asked = []

    def in_validation(step: int) -> None:
        # The second look at step 4 comes from within its validation.
        asked.append(step)
        if asked.count(4) == 1:
            first.outside.stop_at = 4

    first = run_of(model, tmp_path / "parts", config)
    first.outside.at_step = in_validation
    first.trainer.run()
    assert [found.step for found in first.outside.validations] == [0]
    rest = run_of(model, tmp_path / "parts", config)
    saved, _ = newest_whole(tmp_path / "parts" / "checkpoints")
    assert saved is not None
    put_back(saved, rest.net, rest.trainer.stepper)
    rest.trainer.restore(saved.step, saved.state)
    rest.trainer.run()
    assert [(v.step, v.loss) for v in rest.outside.validations] == [
        (v.step, v.loss) for v in whole.outside.validations[1:]
    ]


def resumed_with(model: Path, folder: Path, config: TrainConfig, **state: Any) -> Run:
    """A training of two steps that goes on, with some of its state changed."""
    run_of(model, folder, config, stop_at=2).trainer.run()
    saved, _ = newest_whole(folder / "checkpoints")
    assert saved is not None
    rest = run_of(model, folder, config)
    put_back(saved, rest.net, rest.trainer.stepper)
    rest.trainer.restore(saved.step, saved.state)
    for name, value in state.items():
        setattr(rest.trainer, name, value)
    return rest


def test_one_that_had_given_up_waiting_takes_no_further_step(model: Path, tmp_path: Path) -> None:
    config = config_of(iters=STEPS, early_stop=3)
    rest = resumed_with(model, tmp_path, config)
    rest.trainer.best.waited = 3
    assert rest.trainer.run() == Outcome("completed", 2, early=True)
    assert [report.step for report in rest.outside.reports] == [2]
    assert rest.outside.saved == []


def test_a_best_one_that_is_found_on_resuming_is_saved_as_such(model: Path, tmp_path: Path) -> None:
    rest = resumed_with(model, tmp_path, config_of(iters=3), _owed=True)
    rest.trainer.run()
    assert rest.outside.validations[0].step == 2
    assert rest.outside.saved[0] == (2, True)


def test_a_new_rate_voids_those_of_later_steps(model: Path, tmp_path: Path) -> None:
    # Set at step 50, killed, resumed from 40, and given another one at 45.
    lived: list[Event] = [
        LearningRateSet(step=20, value=3e-4),
        LearningRateSet(step=50, value=1e-4),
        Resumed(step=40, reported=40),
        LearningRateSet(step=45, value=1e-5),
        Resumed(step=40, reported=40),
        LearningRateSet(step=45, value=1e-5, again=True),
    ]
    records = [Record(seq, 0.0, event) for seq, event in enumerate(lived, 1)]
    assert _rates(records) == {20: 3e-4, 45: 1e-5}

    run = run_of(model, tmp_path, config_of(iters=4, steps_per_report=1))
    run.trainer.rates = {1: 4e-4, 3: 1e-4}
    run.outside.asked = {2: [Request("learning_rate", {"value": 5e-5})]}
    run.trainer.run()
    rates = [report.learning_rate for report in run.outside.reports]
    assert rates == pytest.approx([1e-3, 4e-4, 5e-5, 5e-5])


def test_a_rate_that_was_promised_just_before_a_stop_is_set(model: Path, tmp_path: Path) -> None:
    run = run_of(model, tmp_path, config_of(iters=4), stop_at=2)
    run.outside.asked = {2: [Request("learning_rate", {"value": 5e-5})]}
    assert run.trainer.run() == Outcome("stopped", 2)
    told = [event for event in run.outside.events if isinstance(event, LearningRateSet)]
    assert told == [LearningRateSet(step=2, value=5e-5)]
    assert run.trainer.stepper.learning_rate == pytest.approx(5e-5)


def test_a_validation_without_rows_is_not_promised_in_vain(model: Path, tmp_path: Path) -> None:
    run = run_of(model, tmp_path, config_of(iters=3, val_batches=0))
    run.outside.asked = {1: [Request("evaluate")]}
    run.trainer.run()
    notices = [event.message for event in run.outside.events if isinstance(event, Notice)]
    assert notices == ["Nothing is validated: there are no validation rows, or val_batches is 0."]


def test_another_learning_rate_holds_from_the_next_step_on(model: Path, tmp_path: Path) -> None:
    schedule = {"name": "cosine_decay", "arguments": [1e-3, 9]}
    for options in ({}, {"lr_schedule": schedule}):
        config = config_of(iters=4, steps_per_report=1, **options)
        run = run_of(model, tmp_path / f"run{len(options)}", config)
        run.outside.asked = {2: [Request("learning_rate", {"value": 5e-5})]}
        run.trainer.run()
        rates = [report.learning_rate for report in run.outside.reports]
        assert rates[0] == pytest.approx(1e-3)
        assert rates[2:] == pytest.approx([5e-5, 5e-5])


def saved_by(model: Path, folder: Path, *steps: int) -> Path:
    run = run_of(model, folder, config_of(iters=max(steps)))
    for step in steps:
        run.trainer.save(step, False)
    return folder / "checkpoints"


def test_a_damaged_newest_checkpoint_is_told_of_and_the_one_before_used(
    model: Path, tmp_path: Path
) -> None:
    folder = saved_by(model, tmp_path, 1, 2, 3, 4)
    weights = bytearray((folder / "0000004/adapters.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "0000004/adapters.safetensors").write_bytes(weights)
    (folder / "0000003/manifest.json").write_text("{")
    saved, damaged = newest_whole(folder)
    assert saved is not None
    assert saved.step == 2
    assert damaged == [
        "The checkpoint of step 4 is damaged: adapters.safetensors is not what was saved.",
        "The checkpoint of step 3 is damaged: manifest.json can't be read.",
    ]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda at: (at / "optimizer.safetensors").unlink(),
            "optimizer.safetensors can't be read",
        ),
        (lambda at: (at / "state.json").write_text("{}"), "state.json is not what was saved"),
        (
            lambda at: (at / "manifest.json").write_text(json.dumps({"sha256": {}})),
            "adapters.safetensors is not in manifest.json",
        ),
        (lambda at: (at / "manifest.json").unlink(), "manifest.json can't be read"),
    ],
)
def test_without_a_whole_checkpoint_it_says_what_is_wrong_with_each(
    spoil: Any, words: str, model: Path, tmp_path: Path
) -> None:
    folder = saved_by(model, tmp_path, 1)
    spoil(folder / "0000001")
    with pytest.raises(LoraError, match=f"No checkpoint is left to resume from.*{words}"):
        newest_whole(folder)


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "absent") == (None, [])


def test_a_checkpoint_of_another_adapter_or_optimizer_is_refused(
    model: Path, tmp_path: Path
) -> None:
    saved, _ = newest_whole(saved_by(model, tmp_path, 1))
    assert saved is not None
    other = run_of(model, tmp_path / "other", config_of(num_layers=1))
    with pytest.raises(LoraError, match=r"The checkpoint of step 1 does not fit this model"):
        put_back(saved, other.net, other.trainer.stepper)
    plain = run_of(model, tmp_path / "plain", config_of(optimizer="sgd"))
    with pytest.raises(LoraError, match="holds the state of another optimizer"):
        put_back(saved, plain.net, plain.trainer.stepper)


def test_keys_tell_rows_and_models_apart(model: Path, tmp_path: Path) -> None:
    rows = [encoded(9, 1), encoded(5, 2)]
    assert data_key(rows) == data_key([encoded(9, 1), encoded(5, 2)])
    others = [rows[::-1], rows[:1], [encoded(9, 1), encoded(5, 3)], [encoded(9, 1, 4), rows[1]]]
    assert len({data_key(other) for other in [rows, *others]}) == 5

    for path in model.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert model_key(model) == model_key(tmp_path)
    weights = next(tmp_path.glob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-7] ^= 1
    weights.write_bytes(changed)
    assert model_key(model) != model_key(tmp_path)
