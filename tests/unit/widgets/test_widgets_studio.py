"""The studio: its tabs share model, data and run, and lead from the form to a trained run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.commands import studio as command
from lora_nb.commands.table import COMMANDS, call
from lora_nb.config import TrainConfig, load
from lora_nb.console import main
from lora_nb.errors import LoraError
from lora_nb.runs import attach, engine, launch
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets.config_form import ConfigForm
from lora_nb_widgets.dataset_explorer import DatasetExplorer
from lora_nb_widgets.fuse_panel import FusePanel
from lora_nb_widgets.playground import Playground
from lora_nb_widgets.playground_chat import Turn
from lora_nb_widgets.studio import TABS, Studio
from lora_nb_widgets.theme import Widget
from lora_nb_widgets.training_monitor import TrainingMonitor
from tests.html_check import read

KINDS = {
    "Data": DatasetExplorer,
    "Train": ConfigForm,
    "Watch": TrainingMonitor,
    "Playground": Playground,
    "Fuse": FusePanel,
}
QUICK: dict[str, Any] = {"iters": 4, "batch_size": 2, "val_batches": 1, "steps_per_report": 1}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the test's own notebook, where its runs and adapters are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORA_NB_RUNS", str(tmp_path / "runs"))
    return tmp_path


def press(studio: Studio, name: str) -> None:
    waiting: list[Widget] = [studio.widget]
    while waiting:
        widget = waiting.pop()
        if getattr(widget, "description", None) == name and hasattr(widget, "click"):
            widget.click()
            return
        waiting += getattr(widget, "children", ())
    raise AssertionError(f"no button '{name}'")


def error_of(studio: Studio) -> str:
    return read(studio._errors.value).text


def data_of(studio: Studio) -> DatasetExplorer:
    panel = studio.panel("Data")
    assert isinstance(panel, DatasetExplorer)
    panel.settle()
    return panel


def test_it_begins_with_the_demo_and_a_tab_is_made_when_it_is_opened() -> None:
    studio = lora_nb.studio()
    assert repr(studio) == "<lora_nb Studio>"
    assert studio.form.config == load(TrainConfig, flags={"model": "demo", "data": "demo"})
    assert list(studio._panels) == ["Data"]
    assert len(data_of(studio).numbers) == 10
    for name in TABS:
        studio.tab = name
        assert isinstance(studio.panel(name), KINDS[name])
        displays = {each: place.layout.display for each, place in studio._places.items()}
        assert displays == {each: "" if each == name else "none" for each in TABS}
        assert error_of(studio) == ""
    assert studio.panel("Train") is studio.form


def test_options_are_those_of_a_training(tmp_path: Path) -> None:
    studio = lora_nb.studio(iters=7, rank=4)
    assert studio.form.values == {
        "model": "demo",
        "data": "demo",
        "iters": 7,
        "lora_parameters": {"rank": 4},
    }
    recipe = studio._recipe_view.recipe
    assert recipe is not None
    assert recipe.magic == "%lora_studio --model demo --data demo --rank 4 --iters 7"
    assert recipe.console == "lora-nb train --model demo --data demo --rank 4 --iters 7"
    file = tmp_path / "lora.yaml"
    file.write_text("model: demo\ndata: demo\niters: 3\nseed: 5\n")
    studio = lora_nb.studio(file, iters=4)
    assert studio.form.config.iters == 4
    assert studio.form.config.seed == 5
    with pytest.raises(LoraError, match=r"--iters: 'x' is not a whole number\."):
        lora_nb.studio(iters="x")
    with pytest.raises(LoraError, match="itres"):
        lora_nb.studio(itres=3)
    file.write_text("itres: 3\n")
    with pytest.raises(LoraError, match="Did you mean 'iters'"):
        lora_nb.studio(file)


def test_model_and_data_chosen_above_are_those_of_every_tab(data: Path, model: Path) -> None:
    studio = Studio()
    studio._model.value = str(model)
    studio._data.value = str(data)
    assert studio.form.config.model == str(model)
    assert studio.form.config.data == str(data)
    source = data_of(studio).source
    assert source is not None
    assert (source.config.model, source.config.data) == (str(model), str(data))
    studio.form.give({"data": "demo", "mask_prompt": True, "max_seq_length": 99})
    assert studio._data.value == "demo"
    studio.tab = "Train"
    studio.tab = "Data"
    source = data_of(studio).source
    assert source is not None
    assert source.config.data == "demo"
    assert source.config.max_seq_length == 99
    assert source.config.mask_prompt


def test_data_that_is_not_there_keeps_nobody_from_the_studio() -> None:
    studio = Studio({"model": "demo", "data": "./nowhere"})
    explorer = data_of(studio)
    assert "'./nowhere' does not exist" in read(explorer._errors.value).text
    studio._data.value = "demo"
    assert len(data_of(studio).numbers) == 10


def test_from_the_form_to_a_trained_run(data: Path, model: Path) -> None:
    studio = Studio({"model": str(model), "data": str(data), **QUICK})
    studio.tab = "Watch"
    studio.tab = "Train"
    begun = time.monotonic()
    press(studio, "Start training")
    assert time.monotonic() - begun < 5
    assert error_of(studio) == ""
    assert studio.tab == "Watch"
    run = studio.run
    assert run is not None
    assert run.config == studio.form.config
    monitor = studio.panel("Watch")
    assert isinstance(monitor, TrainingMonitor)
    assert monitor.run == run
    assert attach.wait(run, 120)
    monitor.settle(60)
    assert run.status == "completed", run.log_tail()
    page = read(studio.record())
    assert page.faults == []
    assert "train, completed" in page.text
    assert page.text.startswith("Data")
    for name in ("Playground", "Fuse"):
        studio.tab = name
        assert error_of(studio) == ""
        recipe = studio.panel(name).recipe()
        assert recipe is None or run.name in recipe.yaml
    engine.release()


def test_before_the_first_checkpoint_there_is_the_base_model(data: Path, model: Path) -> None:
    options = {"model": str(model), "data": str(data), **QUICK}
    studio = Studio(options)
    studio.run = launch.create(studio.form.config)
    studio.tab = "Playground"
    playground = studio.panel("Playground")
    assert isinstance(playground, Playground)
    assert error_of(studio) == ""
    assert playground.source.adapter.value == ""
    studio.run = lora_nb.train(background=True, **options).wait(120).folder
    studio.tab = "Watch"
    studio.tab = "Playground"
    assert studio.panel("Playground") is playground
    chosen = playground.source.chosen
    assert chosen is not None
    assert chosen.word == f"{studio.run.name}@4"
    engine.release()


def test_a_run_that_is_picked_is_the_studios(data: Path, model: Path) -> None:
    options = {"model": str(model), "data": str(data), **QUICK}
    first, second = (
        lora_nb.train(background=True, name=name, adapter_path=name, **options).wait(120)
        for name in ("first", "second")
    )
    studio = Studio(options)
    studio.tab = "Watch"
    monitor = studio.panel("Watch")
    assert isinstance(monitor, TrainingMonitor)
    monitor.picker.value = str(first.path.absolute())
    monitor.settle(30)
    assert studio.run == RunFolder(first.path.absolute())
    assert studio.model == str(model)
    # What the monitor still has to say of one run does not take the next one away.
    studio.run = second.folder
    monitor.changed()
    assert studio.run == second.folder
    studio.tab = "Data"
    studio.tab = "Watch"
    assert monitor.run == second.folder
    monitor.settle(30)


def test_another_run_leaves_what_was_said_and_filled_in(data: Path, model: Path) -> None:
    options = {"model": str(model), "data": str(data), **QUICK, "save_every": 2}
    first, second = (
        lora_nb.train(background=True, name=name, adapter_path=name, **options).wait(120).folder
        for name in ("first", "second")
    )
    studio = Studio(options)
    studio.run = first
    playground, fusing = (studio.panel(name) for name in ("Playground", "Fuse"))
    assert isinstance(playground, Playground)
    assert isinstance(fusing, FusePanel)
    assert fusing.form.values["adapter_path"] == first.name
    playground.chat.turns.append(Turn("how old?", {}))
    playground.source.point.index = 0
    fusing.form.give({"save_path": "mine"})

    studio.tab = "Watch"
    studio.tab = "Playground"
    assert studio.panel("Playground") is playground
    assert playground.source.checkpoint.value.step == 2

    studio.run = second
    for name, panel in (("Playground", playground), ("Fuse", fusing)):
        studio.tab = name
        assert studio.panel(name) is panel
    chosen = playground.source.chosen
    assert chosen is not None
    assert chosen.word == f"{second.name}@4"
    assert [turn.prompt for turn in playground.chat.turns] == ["how old?"]
    assert fusing.form.values["save_path"] == "mine"
    assert fusing.form.values["adapter_path"] == second.name

    # Another model has said nothing yet.
    studio.run = None
    studio._model.value = "demo"
    assert studio.panel("Playground") is not playground
    assert fusing.form.values["model"] == "demo"


def test_clear_all_leaves_model_and_data(data: Path, model: Path) -> None:
    studio = Studio({"model": str(model), "data": str(data), **QUICK})
    studio.tab = "Train"
    press(studio, "Clear all")
    assert studio.form.values == {"model": str(model), "data": str(data)}
    assert (studio._model.value, studio._data.value) == (str(model), str(data))


def test_what_was_wrong_is_told_no_longer_once_it_is_changed() -> None:
    studio = Studio()
    studio.tab = "Train"
    studio.form.fields[("iters",)].input.value = "x"
    press(studio, "Start training")
    assert error_of(studio) == "--iters: 'x' is not a whole number."
    studio.form.fields[("iters",)].input.value = "3"
    assert error_of(studio) == ""
    assert studio._errors.layout.display == "none"


def test_a_wrong_form_starts_nothing(place: Path) -> None:
    studio = Studio({"model": "demo", "data": "demo"})
    studio.tab = "Train"
    studio.form.fields[("iters",)].input.value = "<b>x</b>"
    press(studio, "Start training")
    assert error_of(studio) == "--iters: '<b>x</b>' is not a whole number."
    assert read(studio._errors.value).faults == []
    assert studio.tab == "Train"
    assert studio.run is None
    assert not (place / "runs").exists()


def test_the_magic_opens_it_in_a_notebook_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["studio"]) == 1
    assert "The studio needs a notebook: use %lora_studio" in capsys.readouterr().err
    monkeypatch.setattr(command, "in_kernel", lambda: True)
    file = tmp_path / "lora.yaml"
    file.write_text("model: demo\ndata: demo\nseed: 5\n")
    studio = call(COMMANDS["studio"], ["-c", str(file), "--iters", "3", "--rank", "2"])
    assert isinstance(studio, Studio)
    assert studio.form.values["seed"] == 5
    assert studio.form.values["iters"] == 3
    assert studio.form.values["lora_parameters"] == {"rank": 2}
    with pytest.raises(LoraError, match="'word' is no flag"):
        call(COMMANDS["studio"], ["word"])
