"""What is said about wrong options: all at once, with place and name, in plain words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import DataConfig, GenerateConfig, TrainConfig, flags_of, load, parse_flags
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config.fields import NESTED, Spec, specs_of
from lora_nb.errors import LoraError

KINDS: tuple[type[Any], ...] = (TrainConfig, OptionsOfTest, GenerateConfig, DataConfig)

# Words that pydantic would use.
_JARGON = re.compile(
    r"pydantic|validation error|input should|input_value|input_type|literal\[|dict\[|list\[|"
    r"unable to parse|loc\b|\.int\b|\.str\b|For further information|NoneType|ValueError",
    re.IGNORECASE,
)


def message_of(kind: type[Any], **layers: Any) -> str:
    with pytest.raises(LoraError) as caught:
        load(kind, **layers)
    return str(caught.value)


def all_options() -> list[Any]:
    options: list[tuple[type[Any], tuple[str, ...], Spec]] = []
    for kind in KINDS:
        for spec in specs_of(kind):
            if spec.key in NESTED:
                inner = specs_of(NESTED[spec.key])
                options += [(kind, (spec.key, each.key), each) for each in inner]
            options.append((kind, (spec.key,), spec))
    return [
        pytest.param(*option, id=f"{option[0].__name__}-{'.'.join(option[1])}")
        for option in options
    ]


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {path[0]: value}
    whole = {"name": "cosine_decay", "arguments": [1e-5, 10]} if path[0] == "lr_schedule" else {}
    return {path[0]: {**whole, path[1]: value}}


@pytest.mark.parametrize(("kind", "path", "spec"), all_options())
@pytest.mark.parametrize("wrong", [["?"], {"?": 1}, object], ids=["list", "mapping", "no-value"])
def test_a_wrong_type_is_named_with_its_option(
    kind: type[Any], path: tuple[str, ...], spec: Spec, wrong: Any
) -> None:
    name = ".".join(path)
    if wrong == ["?"] and spec.is_list and spec.key != "hf_dataset":
        wrong = [["?"]]
    if isinstance(wrong, dict) and spec.key == "hf_dataset":
        wrong = 7
    text = message_of(kind, flags=nested(path, wrong), flag_origin="call")

    assert f"{name}" in text
    assert not _JARGON.search(text), text


@pytest.mark.parametrize(("kind", "path", "spec"), all_options())
def test_no_number_takes_true_for_one(kind: type[Any], path: tuple[str, ...], spec: Spec) -> None:
    given = nested(path, True)
    if spec.is_switch:
        assert getattr(load(kind, flags=given), spec.key) is True
        return
    text = message_of(kind, flags=given, flag_origin="call")
    assert ".".join(path) in text
    assert not _JARGON.search(text), text


def test_all_problems_come_at_once_with_file_line_and_flag(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("learning_rte: 1e-5\nlora_parameters:\n  rank: 0\nbatch_size: four\n")

    text = message_of(TrainConfig, file=file, flags={"save_every": "0", "optimizer": "adan"})

    assert text.startswith("5 problems:\n")
    for line in (
        f"{file}, line 3: lora_parameters.rank: 0 is out of range; give at least 1.",
        f"{file}, line 4: batch_size: 'four' is not a whole number.",
        "--optimizer: 'adan' is not one of 'adam', 'adamw', 'muon', 'sgd' or 'adafactor'.",
        "--optimizer: 'adan' is not one of",
        "--save-every: '0' is out of range; give at least 1.",
        f"{file}, line 1: learning_rte: not an option. Did you mean 'learning_rate'?",
    ):
        assert f"\n  - {line}" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_layers": "0"}, "--num-layers: 0 blocks can't be trained"),
        ({"num_layers": "-3"}, "--num-layers: -3 blocks can't be trained"),
        ({"learning_rate": "nan"}, "--learning-rate: "),
        ({"learning_rate": "-1"}, "--learning-rate: '-1' is out of range; give more than 0."),
        ({"learning_rate": "inf"}, "--learning-rate: 'inf' is not a finite number."),
        ({"batch_size": "-1"}, "--batch-size: '-1' is out of range; give at least 1."),
        ({"save_every": "0"}, "--save-every: '0' is out of range; give at least 1."),
        ({"max_seq_length": "1"}, "--max-seq-length: '1' is out of range; give at least 2."),
        ({"seed": "-1"}, "--seed: '-1' is out of range; give at least 0."),
        ({"seed": str(2**64)}, "--seed: '18446744073709551616' is out of range; give less than"),
        ({"lora_parameters": {"dropout": "1"}}, "--dropout: '1' is out of range; give less than"),
        ({"lora_parameters": {"keys": []}}, "--keys: empty: no layer would be adapted."),
        ({"train": False}, "--train: false, but this verb trains."),
        ({"model": ""}, "--model: is empty."),
        ({"name": "a/b"}, "--name: 'a/b' is not a plain name"),
        ({"clear_cache_threshold": "much"}, "'much' is no size; give bytes, or e.g. 500M or 2GB."),
        ({"clear_cache_threshold": "-1"}, "'-1' is no size"),
        ({"report_to": "wandb,mlflow"}, "--report-to: 'mlflow' is unknown; give wandb or swanlab."),
    ],
)
def test_values_out_of_bounds(values: dict[str, Any], words: str) -> None:
    assert words in message_of(TrainConfig, flags=values)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("name: cosine, arguments: [1e-5]", "'cosine' is not one of 'cosine_decay'"),
        ("name: cosine_decay, arguments: [1e-5]", "takes [init, decay_steps, end]; the last may"),
        ("name: step_decay, arguments: [1e-5, 0.9]", "takes [init, decay_rate, step_size]."),
        ("name: linear_schedule, arguments: [1e-5, 0, 1.5]", "steps is 1.5; give a whole number"),
        ("name: exponential_decay, arguments: [-1, 0.9]", "init is -1.0; give a number of 0 or"),
        ("name: exponential_decay, arguments: [0, 0.9]", "init is 0; give the initial"),
        ("name: cosine_decay", "lr_schedule.arguments: is missing."),
        ("name: cosine_decay, arguments: [1e-5, 9], warm: 3", "Did you mean 'warmup'?"),
    ],
)
def test_schedules_that_make_no_sense(schedule: str, words: str) -> None:
    text = message_of(TrainConfig, cell=f"lr_schedule: {{{schedule}}}")
    assert text.startswith("cell, line 1: lr_schedule")
    assert words in text


def test_optimizer_arguments_are_looked_at() -> None:
    text = message_of(
        TrainConfig, cell="optimizer_config:\n  adamm: {}\n  adam: {learning_rate: 1}"
    )
    assert "cell, line 2: optimizer_config.adamm: no optimizer; known are adam," in text
    assert "cell, line 3: optimizer_config.adam: learning_rate belongs to the option" in text


def test_a_wrong_learning_rate_is_one_problem_also_above_a_schedule() -> None:
    text = message_of(TrainConfig, flags={"model": "demo", "learning_rate": "quick"})
    assert text == "--learning-rate: 'quick' is not a number."


def choices() -> list[tuple[type[Any], str, str]]:
    specs = [(kind, spec) for kind in KINDS for spec in specs_of(kind) if spec.opt.flag]
    return [(kind, spec.key, choice) for kind, spec in specs for choice in spec.choices]


@pytest.mark.parametrize(("kind", "key", "choice"), choices())
def test_every_choice_can_be_given_as_text(kind: type[Any], key: str, choice: str) -> None:
    assert str(getattr(load(kind, flags={key: choice}), key)) == choice


def test_choices_among_numbers_can_be_given_as_flags() -> None:
    words = ["--kv-bits", "4", "--kv-group-size=32"]
    parsed = parse_flags(words, flags_of(GenerateConfig))
    config = load(GenerateConfig, flags=parsed.values)

    assert (config.kv_bits, config.kv_group_size) == (4, 32)
    text = message_of(GenerateConfig, flags={"kv_bits": "5"})
    assert text.startswith("--kv-bits: 5 is not one of 2, 3, 4, 6 or 8.")


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([{"role": "assistant", "content": "b"}], "message 1 is no {role: user, content: ...}."),
        ([{"role": "user"}], "message 1 is no {role: user, content: ...}."),
        ([{"role": "user", "content": "a"}], "ends with a question; the next one is the prompt."),
        ([{"role": "user", "content": 3}], "3 is not text."),
        ("hello", "'hello' is not a list."),
    ],
)
def test_a_conversation_is_turns_of_user_and_assistant(history: Any, words: str) -> None:
    text = message_of(GenerateConfig, flags={"prompt": "q", "history": history})
    assert "history" in text
    assert text.endswith(words)


def test_a_conversation_needs_a_template() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    given = {"prompt": "q", "history": turns}
    assert load(GenerateConfig, flags=given).history == turns
    text = message_of(GenerateConfig, flags={**given, "ignore_chat_template": True})
    assert text.startswith("history: given beside ignore_chat_template")
