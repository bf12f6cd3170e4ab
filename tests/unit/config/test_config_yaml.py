"""YAML files: read with care, and written so that they come back the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lora_nb.config import (
    GenerateConfig,
    LoraParameters,
    LrSchedule,
    TrainConfig,
    as_yaml,
    load,
)
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config.yaml_io import read_yaml_file, read_yaml_text
from lora_nb.errors import LoraError

DEMO = {"model": "demo", "data": "demo"}


def refused(text: str) -> str:
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, cell=text)
    return str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        load(TrainConfig, flags=DEMO),
        load(TrainConfig, flags={**DEMO, "epochs": "2", "train_on": "all"}),
        load(TrainConfig, flags={**DEMO, "lora_parameters": {"alpha": "8", "keys": ["a"]}}),
        load(TrainConfig, flags={**DEMO, "learning_rate": "1e-4", "num_layers": "-1"}),
        TrainConfig(model="demo", lr_schedule=None, mask_prompt=False),
        TrainConfig(
            name="1e5",
            model="2e3",
            data="on",
            project_name="null",
            adapter_path="~/Ünïcode/🙂: #x",
            learning_rate=1e-10,
            lora_parameters=LoraParameters(rank=3, alpha=7.5, keys=["1e5", "yes"]),
            lr_schedule=LrSchedule(name="step_decay", arguments=[1e-5, 0.5, 10], warmup=3),
            optimizer_config={"adam": {"betas": [0.9, 0.98], "eps": 1e-09}},
            clear_cache_threshold="2GB",
            hf_dataset=[{"path": "1e5", "config": {"name": None}}],
        ),
        load(OptionsOfTest, flags={**DEMO, "adapter_path": "adapters"}),
        OptionsOfTest(adapter_path=None, train_on="assistant"),
        GenerateConfig(prompt="two\nlines: {x}", extra_eos_token=["</s>"], kv_bits=4, temp=0.7),
    ],
)
def test_a_recorded_config_comes_back_as_it_was(config: Any, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(as_yaml(config), encoding="utf-8")
    assert load(type(config), file=file) == config


def test_numbers_with_an_exponent_are_numbers_and_the_process_keeps_its_own_loader() -> None:
    assert read_yaml_text("a: 1e-5\nb: -2E+3\nc: 1.5e3\nd: 1e5x", "x").values == {
        "a": 1e-5,
        "b": -2000.0,
        "c": 1500.0,
        "d": "1e5x",
    }
    # YAML 1.1, which everybody else in this process may rely on.
    assert yaml.safe_load("1e-5") == "1e-5"
    assert yaml.safe_dump("1e5") == "1e5\n...\n"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfiters: 7\r\nseed: 2\r\n")
    assert read_yaml_file(file).values == {"iters": 7, "seed": 2}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"model: caf\xe9\n", "{file}: not UTF-8 text (byte 10). Save it as UTF-8."),
        (b"- iters: 3\n", "{file}: wanted lines like 'batch_size: 4', found a list."),
        (b"iters\n", "{file}: wanted lines like 'batch_size: 4', found plain text."),
        (b"a: b: c\n", "{file}, line 1, column 5: not valid YAML: mapping values are not allowed"),
        (b"iters: 1\nseed: 2\niters: 3\n", "{file}, line 3: 'iters' stands twice (also line 1)."),
    ],
)
def test_files_that_hold_no_options(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, file=file)
    assert str(caught.value).startswith(words.format(file=file))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match=r"gone\.yaml: no such file\. -c takes a YAML file"):
        load(TrainConfig, file=tmp_path / "gone.yaml")
    with pytest.raises(LoraError, match=r"can't be read \(Is a directory\)"):
        load(TrainConfig, file=tmp_path)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing but a remark\n")
    assert load(TrainConfig, file=file) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1: 2", "cell, line 1: 1 is no option name. Names are text."),
        ("iters: 3\non: 2", "cell, line 2: on is no option name."),
        ("lora_parameters: {1: 2}", "1 is no option name."),
        ("? [a, b]\n: 2", "a list or mapping is no option name."),
        ("lora_parameters:\n  rank: 1\n  rank: 2", "line 3: 'lora_parameters.rank' stands twice"),
        ("lora_parameters: &a\n  rank: *a", "lora_parameters.rank: "),
        ("model: !!python/object/apply:os.getcwd []", "not valid YAML: could not determine a"),
        ("name: 2024-01-01", "name: datetime.date(2024, 1, 1) is not text."),
        ("iters: 3\n---\niters: 4", "not valid YAML: but found another document."),
        ("iterz:", "cell, line 1: iterz: not an option. Did you mean 'iters'?"),
    ],
)
def test_yaml_that_no_config_can_be(text: str, words: str) -> None:
    assert words in refused(text)
