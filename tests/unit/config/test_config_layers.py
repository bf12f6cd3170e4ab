"""Which layer wins, key by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_nb.config import GenerateConfig, LrSchedule, TrainConfig, load
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config.derived import scale_of, train_on_of
from lora_nb.config.yaml_io import read_yaml_file
from lora_nb.demo import DEFAULTS_PATH
from lora_nb.errors import LoraError


def file_of(folder: Path, text: str) -> Path:
    file = folder / "options.yaml"
    file.write_text(text)
    return file


def test_flags_win_over_the_cell_and_the_cell_over_the_file(tmp_path: Path) -> None:
    file = file_of(tmp_path, "batch_size: 1\niters: 1\nseed: 1\n")
    config = load(TrainConfig, file=file, cell="iters: 2\nseed: 2", flags={"seed": "3"})

    assert (config.batch_size, config.iters, config.seed) == (1, 2, 3)
    assert config.save_every == 100


def test_nested_options_are_merged_key_by_key(tmp_path: Path) -> None:
    file = file_of(tmp_path, "lora_parameters: {rank: 4, dropout: 0.1}\n")
    config = load(TrainConfig, file=file, flags={"lora_parameters": {"rank": "16"}})

    assert (config.lora_parameters.rank, config.lora_parameters.dropout) == (16, 0.1)


@pytest.mark.parametrize(
    ("below", "above", "left"),
    [
        ("iters: 50", {"epochs": "2"}, {"iters": None, "epochs": 2.0}),
        ("epochs: 2", {"iters": "50"}, {"iters": 50, "epochs": None}),
        ("mask_prompt: true", {"train_on": "all"}, {"mask_prompt": False, "train_on": "all"}),
        ("train_on: assistant", {"mask_prompt": True}, {"mask_prompt": True, "train_on": None}),
        ("train_on: assistant", {"mask_prompt": False}, {"mask_prompt": False, "train_on": None}),
    ],
)
def test_a_later_layer_replaces_the_rival_of_its_option(
    below: str, above: dict[str, object], left: dict[str, object]
) -> None:
    config = load(TrainConfig, cell=below, flags=above)
    assert {key: getattr(config, key) for key in left} == left


def test_alpha_replaces_scale_and_the_other_way_round() -> None:
    by_alpha = load(
        TrainConfig,
        cell="lora_parameters: {rank: 4, scale: 10.0}",
        flags={"lora_parameters": {"alpha": "32"}},
    )
    by_scale = load(
        TrainConfig,
        cell="lora_parameters: {rank: 4, alpha: 32}",
        flags={"lora_parameters": {"scale": "10"}},
    )
    assert (by_alpha.lora_parameters.scale, scale_of(by_alpha.lora_parameters)) == (None, 8.0)
    assert (by_scale.lora_parameters.alpha, scale_of(by_scale.lora_parameters)) == (None, 10.0)
    assert scale_of(load(TrainConfig).lora_parameters) == 20.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iters: 5\nepochs: 2", "cell, line 2: epochs: given beside iters. Give one of the two."),
        (
            "lora_parameters:\n  scale: 2.0\n  alpha: 16",
            "cell, line 3: lora_parameters.alpha: given beside scale. Give one of the two.",
        ),
        (
            "mask_prompt: true\ntrain_on: all",
            "cell, line 2: train_on: 'all' contradicts mask_prompt. Give one of the two.",
        ),
    ],
)
def test_rivals_in_one_place_are_refused(text: str, words: str) -> None:
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, cell=text)
    assert str(caught.value) == words


def test_a_learning_rate_above_a_schedule_becomes_its_start() -> None:
    below = "lr_schedule: {name: cosine_decay, arguments: [1e-3, 100, 1e-6], warmup: 5}"
    config = load(TrainConfig, cell=below, flags={"learning_rate": "2e-4"})

    assert config.lr_schedule == LrSchedule(
        name="cosine_decay", arguments=[2e-4, 100, 1e-6], warmup=5
    )
    assert config.learning_rate == 2e-4


def test_one_yaml_serves_the_other_verbs_too(tmp_path: Path) -> None:
    file = file_of(tmp_path, "model: m\niters: 7\ntemp: 0.5\nadapter_path: a\ntest_batches: 3\n")

    tested = load(OptionsOfTest, file=file)
    generated = load(GenerateConfig, file=file)

    assert (tested.model, tested.adapter_path, tested.test_batches) == ("m", "a", 3)
    assert (generated.model, generated.temp) == ("m", 0.5)
    with pytest.raises(LoraError, match="iters: not an option"):
        load(OptionsOfTest, flags={"iters": "7"})


def test_the_demo_brings_options_that_suit_it_below_all_others() -> None:
    brought = read_yaml_file(DEFAULTS_PATH).values
    demo = load(TrainConfig, flags={"model": "demo", "data": "demo"})
    changed = load(TrainConfig, cell="batch_size: 3", flags={"data": "demo"})

    plain = {key: value for key, value in brought.items() if not isinstance(value, (dict, list))}
    assert {key: getattr(demo, key) for key in plain} == plain
    assert train_on_of(demo) == "completions"
    assert demo.batch_size != TrainConfig().batch_size
    assert (changed.batch_size, changed.learning_rate) == (3, demo.learning_rate)
    assert load(TrainConfig, flags={"model": "other"}) == TrainConfig(model="other")


def test_a_key_without_a_value_counts_as_not_given(tmp_path: Path) -> None:
    file = file_of(tmp_path, "batch_size:\nlr_schedule:\nlora_parameters:\n")
    assert load(TrainConfig, file=file) == load(TrainConfig)


def test_what_values_break_together_is_told_beside_what_is_wrong_with_single_ones() -> None:
    flags = {"num_layers": "-3", "batch_size": "x", "epochs": "1", "iters": "3", "foo": "1"}
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, flags=flags)
    text = str(caught.value)
    assert text.startswith("4 problems:")
    assert "--batch-size: 'x' is not a whole number." in text
    assert "foo: not an option." in text
    assert "--epochs: given beside iters. Give one of the two." in text
    assert "--num-layers: -3 blocks can't be trained" in text
