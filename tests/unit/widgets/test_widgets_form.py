"""The form of options: made from the declarations, checked like flags, lossless with YAML."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_nb import config
from lora_nb.config import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    FuseConfig,
    GenerateConfig,
    TrainConfig,
    flags_of,
    layers,
    load,
)
from lora_nb.config.fields import specs_of
from lora_nb.errors import LoraError
from lora_nb_widgets.config_form import ConfigForm
from lora_nb_widgets.config_form_presets import PRESETS
from tests.html_check import read

HOSTILE = "<img src=x onerror=alert(1)>&amp;"
KINDS: tuple[type[Any], ...] = typing.get_args(layers.Config) or layers.Config.__constraints__


def put(form: ConfigForm, key: str, value: Any) -> None:
    """Fill in an input, as its user does."""
    form.fields[tuple(key.split("."))].input.value = value


def told(form: ConfigForm) -> str:
    return read(form._told.value).text


def press(form: ConfigForm, name: str) -> None:
    """Press a button of the form."""
    form._file_part.open()
    waiting = [form.widget]
    while waiting:
        widget = waiting.pop()
        if getattr(widget, "description", None) == name and hasattr(widget, "click"):
            widget.click()
            return
        waiting += getattr(widget, "children", ())
    raise AssertionError(f"no button '{name}'")


def line_of(form: ConfigForm) -> str:
    """The magic's line that is shown, if one is."""
    recipe = form._recipe_view.recipe
    assert (form._recipe_view.widget.layout.display == "none") == (recipe is None)
    return recipe.magic if recipe else ""


def error_of(form: ConfigForm) -> str:
    return read(form._errors.value).text


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_an_input_for_every_option_and_its_words_are_the_declaration(
    kind: type[Any],
) -> None:
    form = ConfigForm(kind)
    assert {path[0] for path in form.fields} == {spec.key for spec in specs_of(kind)}
    flags = {flag.path: flag for flag in flags_of(kind) if flag.path != ("config",)}
    assert set(flags) <= set(form.fields)
    for path, field in form.fields.items():
        assert field.input.description == path[-1]
        assert field.flag.help
        assert field.input.tooltip.startswith(field.flag.help)
        if flag := flags.get(path):
            assert all(name in field.input.tooltip for name in flag.names)
            assert (type(field.input).__name__ == "Checkbox") == flag.is_switch
            assert (type(field.input).__name__ == "Dropdown") == bool(flag.choices)
    assert form.values == {}


def outcome(make: Callable[[], Any]) -> Any:
    """What comes of it, or the words of its problem."""
    try:
        return make()
    except LoraError as problem:
        return str(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_form_is_the_defaults_or_lacks_what_they_lack(kind: type[Any]) -> None:
    assert outcome(lambda: ConfigForm(kind).config) == outcome(lambda: load(kind))


def test_what_is_missing_is_told_at_its_input() -> None:
    form = ConfigForm(ConvertConfig)
    assert form.problems == {"model": "model: is missing."}
    with pytest.raises(LoraError, match=r"model: is missing\."):
        _ = form.config
    assert line_of(form) == ""
    put(form, "model", "some/model")
    assert form.config == load(ConvertConfig, flags={"model": "some/model"})


WRONG: list[dict[str, Any]] = [
    {"iters": "abc"},
    {"batch_size": "0", "learning_rate": "-1"},
    {"iters": "5", "epochs": "2"},
    {"num_layers": "0"},
    {"lora_parameters": {"rank": "x", "scale": "2", "alpha": "4"}},
    {"split": "0.5/0.1", "max_seq_length": "1"},
    {"trunk_cache_limit": "many", "report_to": "nobody"},
    {"model": "a\0b"},
]


@pytest.mark.parametrize("values", WRONG)
def test_problems_have_the_words_of_the_flags_and_stand_at_their_inputs(
    values: dict[str, Any],
) -> None:
    form = ConfigForm()
    form.give(values)
    with pytest.raises(LoraError) as wanted:
        load(TrainConfig, flags=values)
    with pytest.raises(LoraError) as raised:
        _ = form.config
    lines = [line.removeprefix("  - ") for line in str(wanted.value).splitlines()]
    lines = [line for line in lines if not line.endswith(" problems:")]
    told = [line for text in form.problems.values() for line in text.splitlines()]
    assert sorted(told) == sorted(lines)
    assert all(line in str(raised.value) for line in lines)
    for key in form.problems:
        field = form.fields[tuple(key.split("."))]
        assert read(field.widget.children[1].value).text == form.problems[key]
    assert line_of(form) == ""


def test_a_problem_is_gone_once_it_is_mended_and_opens_its_group() -> None:
    form = ConfigForm()
    fold = form._folds["Evaluation"]
    fold.head.value = False
    put(form, "val_batches", "-2")
    assert fold.head.value
    assert fold.head.description == "Evaluation · 1 wrong · 1 given"
    put(form, "val_batches", "3")
    assert form.problems == {}
    assert fold.head.description == "Evaluation · 1 given"
    assert len(form.fields[("val_batches",)].widget.children) == 1
    assert form.config.val_batches == 3


def test_only_what_differs_from_the_defaults_is_in_the_recipe() -> None:
    form = ConfigForm()
    put(form, "iters", "7")
    put(form, "batch_size", "4")
    put(form, "lora_parameters.rank", "16")
    put(form, "lora_parameters.keys", "self_attn.q_proj, mlp.up_proj")
    put(form, "grad_checkpoint", True)
    assert form.values == {
        "lora_parameters": {"rank": 16, "keys": ["self_attn.q_proj", "mlp.up_proj"]},
        "iters": 7,
        "grad_checkpoint": True,
    }
    recipe = form._recipe_view.recipe
    assert recipe is not None
    assert recipe.magic == (
        "%lora_train --rank 16 --keys self_attn.q_proj,mlp.up_proj --iters 7 --grad-checkpoint"
    )
    assert load(TrainConfig, cell=recipe.yaml) == form.config


def test_the_demos_own_defaults_show_once_it_is_chosen() -> None:
    form = ConfigForm()
    size, mask = form.fields[("batch_size",)], form.fields[("mask_prompt",)]
    assert (size.input.placeholder, mask.input.value) == ("4", False)
    put(form, "model", "demo")
    put(form, "data", "demo")
    assert (size.input.placeholder, mask.input.value) == ("8", True)
    assert form.values == {"model": "demo", "data": "demo"}
    assert form.config == load(TrainConfig, flags={"model": "demo", "data": "demo"})
    put(form, "mask_prompt", False)
    put(form, "batch_size", "4")
    assert form.values == {"model": "demo", "data": "demo", "batch_size": 4, "mask_prompt": False}
    assert line_of(form) == "%lora_train --model demo --data demo --no-mask-prompt --batch-size 4"


def test_options_that_are_no_flags_are_written_as_yaml() -> None:
    form = ConfigForm()
    put(form, "lr_schedule", "{name: cosine_decay, arguments: [1e-4, 10]}")
    put(form, "optimizer_config", "adamw:\n  weight_decay: 0.1")
    assert form.config.lr_schedule.arguments == [1e-4, 10.0]
    assert form.config.optimizer_config == {"adamw": {"weight_decay": 0.1}}
    put(form, "lr_schedule", "{name: cosine_decay")
    assert "not valid YAML" in form.problems["lr_schedule"]
    # Where in the text is no use to somebody who has not written what is put before it.
    assert form.problems["lr_schedule"].startswith("lr_schedule: not valid YAML")
    with pytest.raises(LoraError, match=r"lr_schedule: not valid YAML"):
        _ = form.config
    put(form, "lr_schedule", "{name: cosine_decay, arguments: [1e-4]}")
    assert form.problems == {
        "lr_schedule": "lr_schedule.arguments: cosine_decay takes [init, decay_steps, end]; "
        "the last may be left out."
    }


FILE = """
model: demo
data: demo
iters: 7
learning_rate: 1e-3
lora_parameters: {rank: 4, keys: [self_attn.q_proj]}
lr_schedule: {name: cosine_decay, arguments: [1e-3, 7], warmup: 2}
optimizer: adamw
long_rows: split
grad_checkpoint: true
max_tokens: 5
"""


def test_a_file_fills_the_form_and_comes_out_the_same(tmp_path: Path) -> None:
    path = tmp_path / "lora.yaml"
    path.write_text(FILE)
    form = ConfigForm(values={"seed": 5})
    form.load(path)
    assert form.config == load(TrainConfig, file=path)
    assert told(form) == "Of other verbs, kept but not used here: max_tokens."
    out = tmp_path / "out.yaml"
    form.save(out)
    assert load(TrainConfig, file=out) == form.config
    assert load(GenerateConfig, file=out).max_tokens == 5


def test_unknown_keys_are_shown_and_must_be_left_out_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "lora.yaml"
    path.write_text(
        f"iters: 3\nlerning_rate: 1e-3\nlora_parameters: {{rank: 2, rnk: 3}}\n'{HOSTILE}': 1"
    )
    form = ConfigForm()
    form._file.value = str(path)
    press(form, "Load")
    with pytest.raises(LoraError) as wanted:
        load(TrainConfig, file=path)
    lines = [line.removeprefix("  - ") for line in str(wanted.value).splitlines()[1:]]
    assert sorted(form.problems) == sorted(["lerning_rate", "lora_parameters.rnk", HOSTILE])
    assert sorted(told(form).splitlines()) == sorted(lines)
    assert read(form._told.value).faults == []
    assert "Did you mean 'learning_rate'?" in told(form)
    with pytest.raises(LoraError, match="3 problems"):
        _ = form.config
    with pytest.raises(LoraError, match="3 problems"):
        form.save(path)
    assert "lerning_rate" in path.read_text()
    assert line_of(form) == ""
    assert form._leave_out.layout.display == ""
    press(form, "Leave them out")
    assert form.values == {"iters": 3, "lora_parameters": {"rank": 2}}
    assert form._leave_out.layout.display == "none"


def test_values_that_no_input_can_show_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "lora.yaml"
    path.write_text(
        "mask_prompt: perhaps\noptimizer: adamx\niters: [1]\nlora_parameters: 5\nlr_schedule: 3\n"
    )
    form = ConfigForm()
    form.load(path)
    assert sorted(form.problems) == [
        *("iters", "lora_parameters", "lr_schedule", "mask_prompt", "optimizer"),
    ]
    assert form.problems["optimizer"].startswith("--optimizer: 'adamx' is not one of")
    assert "Did you mean 'adam" in form.problems["optimizer"]
    put(form, "optimizer", "adamw")
    assert "optimizer" not in form.problems


def test_a_key_that_is_no_option_is_refused() -> None:
    with pytest.raises(LoraError, match=r"itres: not an option\. Did you mean 'iters'\?"):
        ConfigForm(values={"itres": 3, "batch_size": "x"})
    with pytest.raises(LoraError, match=r"lora_parameters\.rnk: not an option"):
        ConfigForm(values={"lora_parameters": {"rnk": 3}})


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    form = ConfigForm(values={"iters": 3})
    form._file.value = str(tmp_path / "none.yaml")
    press(form, "Load")
    assert error_of(form) == (
        f"{tmp_path}/none.yaml: no such file. -c takes a YAML file with options."
    )
    assert form.values == {"iters": 3}


def test_writing_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    form = ConfigForm(values={"iters": 3})
    form._file.value = str(tmp_path / "no" / "file.yaml")
    press(form, "Save")
    assert "No such file or directory" in error_of(form)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("QLoRA", {"model": "m-4bit"}),
        ("Smaller batch", {"batch_size": 1, "grad_accumulation_steps": 4, "iters": 40}),
        ("Fewer layers", {"num_layers": 4}),
        ("Split long rows", {"max_seq_length": 512, "long_rows": "split"}),
        ("Recompute activations", {"grad_checkpoint": True}),
        ("Trunk cache on disk", {"trunk_cache": "disk"}),
    ],
)
def test_presets_for_less_memory(name: str, changed: dict[str, Any]) -> None:
    base = {"model": "org/m", "data": "rows", "iters": 10}
    form = ConfigForm(values=base)
    press(form, name)
    assert form.values == base | changed
    assert form.config == load(TrainConfig, flags=base | changed)
    once = form.values
    press(form, name)
    assert form.values == once
    assert error_of(form) == ""


def test_the_preset_of_four_bits_says_how_the_model_is_made() -> None:
    form = ConfigForm(values={"model": "org/m"})
    press(form, "QLoRA")
    assert told(form).endswith(
        "in a cell: %lora_convert --model org/m --quantize --mlx-path m-4bit"
    )


def test_presets_are_for_trainings_and_wait_for_a_form_without_problems() -> None:
    assert {preset.name for preset in PRESETS} >= {"QLoRA", "Fewer layers"}
    with pytest.raises(AssertionError, match="no button 'QLoRA'"):
        press(ConfigForm(DataConfig), "QLoRA")
    form = ConfigForm(values={"iters": "x"})
    press(form, "Fewer layers")
    assert error_of(form) == "--iters: 'x' is not a whole number."
    assert form.fields[("num_layers",)].given() is None


def test_everything_can_be_taken_back() -> None:
    form = ConfigForm(values={"iters": 3, "optimizer": "sgd", "packing": True, "batch_size": "x"})
    press(form, "Clear all")
    assert form.values == {}
    assert form.problems == {}
    assert form.config == load(TrainConfig)


def test_what_a_saved_notebook_keeps_is_escaped() -> None:
    form = ConfigForm(values={"model": HOSTILE, "iters": HOSTILE})
    page = read(form.record())
    assert page.faults == []
    assert page.text.count(HOSTILE) == 3
    field = form.fields[("iters",)]
    assert read(field.widget.children[1].value).faults == []
    assert repr(form) == "<lora_nb ConfigForm>"


@pytest.mark.parametrize(
    ("kind", "values", "line"),
    [
        (config.TestConfig, {"test_batches": -1}, "%lora_test --test-batches -1"),
        (GenerateConfig, {"temp": 0.5, "kv_bits": 8}, "%lora_generate --temp 0.5 --kv-bits 8"),
        (FuseConfig, {"export_gguf": True}, "%lora_fuse --export-gguf"),
        (CompareConfig, {"rows": 3}, "%lora_compare --rows 3"),
    ],
)
def test_every_verb_has_its_recipe(kind: type[Any], values: dict[str, Any], line: str) -> None:
    assert line_of(ConfigForm(kind, values)) == line
