"""Which trainings a sweep stands for, and what is said of values that can't be tried."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lora_nb
from lora_nb import api
from lora_nb.config import SweepConfig, TrainConfig, as_yaml, load
from lora_nb.config.grid import MOST, trials_of
from lora_nb.config.several import in_a_list, spread
from lora_nb.errors import LoraError
from lora_nb.runs import launch
from lora_nb.runs.sweep_state import in_words, keep_runs, sweep_state
from tests.unit.commands.conftest import Shell

Configs = list[tuple[Any, bool]]


def test_flags_with_commas_make_a_grid(shell: Shell, started: Configs) -> None:
    shell.run("%lora_sweep --model m --data d --learning-rate 1e-5,1e-4 --rank 4,8 --iters 7")
    ((config, background),) = started
    assert config.sweep == {"learning_rate": [1e-5, 1e-4], "rank": [4, 8]}
    assert not background
    trials = trials_of(config, "/there")
    assert [trial.name for trial in trials] == [
        "lr-1e-5-rank-4", "lr-1e-5-rank-8", "lr-0.0001-rank-4", "lr-0.0001-rank-8",
    ]  # fmt: skip
    last = trials[-1].config
    assert (last.learning_rate, last.lora_parameters.rank, last.iters) == (1e-4, 8, 7)
    assert (last.name, last.adapter_path) == ("lr-0.0001-rank-8", "/there/lr-0.0001-rank-8")
    assert len({trial.config.adapter_path for trial in trials}) == 4
    # Only in the sweep's own folder an adapter may be replaced unasked.
    assert {trial.config.overwrite for trial in trials} == {True}
    elsewhere = dataclasses.replace(config, adapter_path="out")
    assert {trial.config.overwrite for trial in trials_of(elsewhere)} == {False}


def test_yaml_below_a_key_and_flags_on_top(shell: Shell, started: Configs, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "model: m\ndata: d\nname: both\nadapter_path: out\niters: 9\n"
        "sweep:\n  lora_parameters: {rank: [4, 8]}\n  seed: [1, 2]\n  epochs: [1, 2]\n"
    )
    shell.run(f"%lora_sweep -c {file} --seed 3 --optimizer sgd,adam --background")
    config, background = started[0]
    assert background
    assert (config.seed, config.sweep) == (
        3, {"rank": [4, 8], "epochs": [1, 2], "optimizer": ["sgd", "adam"]},
    )  # fmt: skip
    first = trials_of(config)[0].config
    # What is swept replaces its rival, as a flag would.
    assert (first.epochs, first.iters) == (1, None)
    assert (first.name, first.adapter_path) == (
        "both-rank-4-epochs-1-optimizer-sgd", "out/rank-4-epochs-1-optimizer-sgd",
    )  # fmt: skip


def test_arguments_that_are_lists_make_a_grid(started: Configs, monkeypatch: Any) -> None:
    told: list[SweepConfig] = []

    def start(config: SweepConfig, *, background: bool) -> None:
        told.append(config)
        raise LoraError("started")

    monkeypatch.setattr(api, "start", start)
    with pytest.raises(LoraError, match="started"):
        lora_nb.sweep(model="m", data="d", rank=(4, 8), keys=[["a"], ["b", "c"]], scale=2)
    assert told[0].sweep == {"rank": [4, 8], "keys": [["a"], ["b", "c"]]}
    assert told[0].lora_parameters.scale == 2
    with pytest.raises(LoraError, match="started"):
        lora_nb.sweep(model=["m", "n"], data="d", keys=["a", "b"])
    assert told[1].sweep == {"model": ["m", "n"]}
    assert told[1].lora_parameters.keys == ["a", "b"]


def test_a_config_comes_back_from_its_yaml(tmp_path: Path) -> None:
    given = load(
        SweepConfig,
        flags={"sweep": {"learning_rate": ["1e-5", "2"], "lr_schedule": [
            None, {"name": "cosine_decay", "arguments": [1e-4, 10]}]}},
    )  # fmt: skip
    file = tmp_path / "config.yaml"
    file.write_text(as_yaml(given))
    assert load(SweepConfig, file=file) == given
    assert given.sweep["learning_rate"] == [1e-5, 2.0]
    assert [trial.name for trial in trials_of(given)][1] == "lr-1e-5-lr_schedule-cosine_decay"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--learning-rate 1e-5,x", "--learning-rate: 'x' is not a number."),
        ("--rank 0,4", "--rank: '0' is out of range; give at least 1."),
        ("--rank 4,8,4", "--rank: '4' stands twice."),
        ("--learning-rate 1e-4,0.0001", "--learning-rate: '0.0001' stands twice."),
        ("--rank 4,", "--rank: '' is not a whole number."),
        ("--optimizer adam,adan", "--optimizer: 'adan' is not one of 'adam', 'adamw', "),
        (
            "--early-stop 2 --val-batches 0,1",
            "--early-stop: needs validations, but val_batches is 0 (with val_batches 0).",
        ),
        ("--rank 4", "sweep: no option has several values. Give one some: --learning-rate 1e-5,1e"),
        ("--iters 10,20 --epochs 1", "epochs: given beside iters. Give one of the two."),
        ("--alpha 8,16 --scale 3", "scale: given beside alpha. Give one of the two."),
        (
            "--mask-prompt true,false",
            "'true,false' is no flag. Options are written --like-this VALUE, switches --like-th",
        ),
        (f"--seed {','.join(map(str, range(MOST + 1)))}", f"sweep: has {MOST + 1} combinations"),
        ("--iters no --rank 1,y", "2 problems:\n  - --iters: 'no' is not a whole number.\n  - --r"),
        ("fast", "'fast' is no flag."),
        ("--resume a --rank 4,8", "--resume: the options are the sweep's own."),
    ],
)
def test_wrong_values_are_named_before_anything_starts(
    line: str, words: str, shell: Shell, started: Configs
) -> None:
    problem = shell.error(f"%lora_sweep --model m --data d {line}")
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(words), str(problem)
    assert started == []


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("rank: [0]", "cell, line 2: sweep.rank: 0 is out of range; give at least 1."),
        ("rnak: [4]", "cell, line 2: sweep.rnak: not an option. Did you mean 'rank'?"),
        ("name: [a, b]", "cell, line 2: sweep.name: can't have several values: it is the same"),
        ("rank: []", "cell, line 2: sweep.rank: has no values to try."),
        ("rank: 4", "cell, line 2: sweep.rank: 4 is not a list."),
    ],
)
def test_wrong_yaml_is_named_with_its_line(
    cell: str, words: str, shell: Shell, started: Configs
) -> None:
    problem = shell.error(f"%%lora_sweep --model m --data d\nsweep:\n  {cell}\n")
    assert str(problem).startswith(words), str(problem)
    assert started == []


def test_names_of_trials_never_fall_together() -> None:
    config = load(SweepConfig, flags={"sweep": {"model": ["a/m", "b/m", "B/M"], "rank": [4]}})
    names = [trial.name for trial in trials_of(config)]
    assert names == ["model-m-rank-4", "model-m-rank-4-2", "model-M-rank-4-3"]


def test_a_training_takes_no_sweep(shell: Shell, started: Configs) -> None:
    problem = shell.error("%%lora_train --model m\nsweep: {rank: [4]}\n")
    assert str(problem).startswith("cell, line 1: sweep: not an option.")
    assert started == []


def test_nested_options_and_lists_are_tried_as_they_are_written(
    tmp_path: Path, runs_root: Path
) -> None:
    text = (
        "model: m\ndata: d\nlora_parameters: {dropout: 0.1}\nsweep:\n"
        "  lora_parameters: [{rank: 4, scale: '2.0'}, {rank: 8, alpha: 16}]\n"
        "  grad_checkpoint: [true, false]\n  max_grad_norm: [null, 1]\n"
        "  optimizer_config: [{adam: {betas: [0.9, 0.95]}}]\n"
    )
    config = load(SweepConfig, cell=text)
    trials = trials_of(config)
    assert [trial.config.lora_parameters.rank for trial in trials] == [4] * 4 + [8] * 4
    shapes = [trials[0].config.lora_parameters, trials[-1].config.lora_parameters]
    assert [(each.scale, each.alpha, each.dropout) for each in shapes] == [
        (2.0, None, 0.1), (None, 16.0, 0.1),
    ]  # fmt: skip
    assert in_words(trials[0].values) == (
        "lora_parameters {rank: 4, scale: 2}, grad_checkpoint true, max_grad_norm none, "
        "optimizer_config {adam: {betas: [0.9, 0.95]}}"
    )
    assert trials[0].name == "lora_parameters-rank-4-scale-2-grad_checkpoint-T"
    # The worker writes them down.
    sweep = launch.create(config, runs_root)
    run = launch.create(trials[0].config, runs_root)
    keep_runs(sweep, sweep_state(sweep), trials[0], run)
    assert sweep_state(sweep).trials[0].run == run
    assert load(SweepConfig, file=sweep.config_path) == config


def test_arrays_and_ranges_are_several_values() -> None:
    given = {"iters": range(4, 6), "learning_rate": np.array([1e-5, 1e-4])}
    values = spread({"model": "m", **given, "seed": np.arange(2)}, in_a_list)
    assert values["sweep"] == {"iters": [4, 5], "learning_rate": [1e-5, 1e-4], "seed": [0, 1]}
    assert {type(each) for each in values["sweep"]["seed"]} == {int}


def test_a_nested_option_at_the_top_is_told_its_place() -> None:
    with pytest.raises(LoraError) as problem:
        load(TrainConfig, cell="model: m\nrank: 16\nrnk: 1")
    assert str(problem.value).splitlines()[1:] == [
        "  - cell, line 2: rank: belongs below lora_parameters, as lora_parameters: {rank: ...}.",
        "  - cell, line 3: rnk: not an option.",
    ]
