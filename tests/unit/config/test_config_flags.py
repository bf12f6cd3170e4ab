"""Words of a line, sorted into options, switches and the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import (
    Flag,
    GenerateConfig,
    Parsed,
    TrainConfig,
    flags_of,
    load,
    parse_flags,
    usage,
    yaml_only,
)
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config.flags import flag_table, looks_like_flag
from lora_nb.errors import LoraError


def parsed(line: str, kind: type[Any] = TrainConfig) -> Parsed:
    return parse_flags(line.split(), flags_of(kind))


def test_values_by_blank_and_by_equals_sign() -> None:
    found = parsed("--model m --iters=5 -c ~/x.yaml --rank 4 --keys a,b, --mask-prompt word")

    assert found.values == {
        "model": "m",
        "iters": "5",
        "lora_parameters": {"rank": "4", "keys": ["a", "b"]},
        "mask_prompt": True,
    }
    assert found.config_file == Path("~/x.yaml").expanduser()
    assert found.rest == ["word"]


def test_a_switch_can_be_turned_off_again() -> None:
    assert parsed("--no-mask-prompt").values == {"mask_prompt": False}
    config = load(TrainConfig, cell="test: true", flags=parsed("--no-test").values)
    assert config.test is False


def test_negative_numbers_are_values_and_what_follows_two_dashes_is_left_alone() -> None:
    found = parsed("--num-layers -1 --val-batches=-1 -- --model x")
    assert found.values == {"num_layers": "-1", "val_batches": "-1"}
    assert found.rest == ["--model", "x"]


def test_all_wrong_flags_are_told_at_once() -> None:
    with pytest.raises(LoraError) as caught:
        parsed("--lerning-rate 3 --mask-prompt=yes --xyz --iters --model")
    assert str(caught.value).splitlines() == [
        "5 problems:",
        "  - --lerning-rate is not a flag here. Did you mean '--learning-rate'?",
        "  - --mask-prompt takes no value (got 'yes').",
        "  - --xyz is not a flag here.",
        "  - --iters needs a value: --iters N.",
        "  - --model needs a value: --model MODEL.",
    ]


@pytest.mark.parametrize("kind", [TrainConfig, OptionsOfTest, GenerateConfig])
def test_every_flag_stands_once_in_the_help_with_its_default_and_choices(kind: type[Any]) -> None:
    text = usage("prog", "What it does.", flags_of(kind), "WORDS")
    lines = text.splitlines()

    assert lines[0] == "prog [flags] WORDS"
    for flag in flags_of(kind):
        heads = [line for line in lines if line.strip().startswith(", ".join(flag.names))]
        assert heads, flag.names
        assert flag.help, flag.names
        assert all(choice in " ".join(heads) for choice in flag.choices)
    table = flag_table(flags_of(kind))
    names = [name for flag in flags_of(kind) for name in (*flag.names, *flag.negations)]
    assert len(names) == len(set(names)) == len(table)


def test_the_help_says_the_defaults() -> None:
    text = usage("prog", "", flags_of(TrainConfig))
    assert "Rows in a batch. Default: 4." in text
    assert "  --rank N\n" in text
    assert "  --learning-rate X\n" in text
    assert "  --adapter-path PATH\n" in text
    # Nought is a default like others, and so is a switch that is on.
    assert "Seed of everything random in the run. Default: 0." in text
    assert "Dropout on the adapter's input, 0 to below 1. Default: 0." in text
    assert "On by default." in text.partition("  --train\n")[2].splitlines()[0]
    assert "Default" not in text.partition("  --test\n")[2].splitlines()[0]


def test_the_help_fits_a_terminal_and_breaks_nothing_that_is_copied() -> None:
    flags = (*flags_of(TrainConfig), Flag(("x",), ("--x",), f"Give {'y' * 120} to it."))
    lines = usage("prog", "What it does. " * 20 + "\n\nMore.", flags).splitlines()
    assert [line for line in lines if len(line) > 88] == [f"      {'y' * 120}"]
    assert "More." in lines
    assert not [line for line in lines if line.endswith("Default:")]
    assert lines[-1] == "What a YAML file has turned on, --no-... turns off, e.g. --no-overwrite."


def test_the_help_names_options_without_a_flag() -> None:
    text = usage("prog", "", flags_of(TrainConfig), yaml=yaml_only(TrainConfig))
    told = text.partition("In YAML, or as an argument in Python:\n")[2]
    keys = [line.strip() for line in told.splitlines() if re.match(r"  \S", line)]
    assert keys == ["hf_dataset", "optimizer_config", "lr_schedule"]
    assert "{name: cosine_decay, arguments: [1e-5, 1000]," in told
    assert "In YAML" not in usage("prog", "", flags_of(TrainConfig))


@pytest.mark.parametrize(
    ("word", "is_flag"),
    [("--x", True), ("-c", True), ("-", False), ("-3", False), ("-1e-5", False),
     ("-a b", False), ("--x=a b", True), ("x-y", False)],
)  # fmt: skip
def test_what_is_a_flag(word: str, is_flag: bool) -> None:
    assert looks_like_flag(word) is is_flag
