"""The verbs as functions: keyword arguments become the same configs as flags."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lora_nb
from lora_nb import api
from lora_nb.api import Run
from lora_nb.config import GenerateConfig, TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.runs.control import Inbox, Request
from tests.unit.runs.kit import ended, loss, made, started

OPTIONS: dict[str, Any] = {"model": "m", "data": "d"}


def test_inner_options_may_stand_outside() -> None:
    parameters = {"keys": ["a"], "dropout": 0.1}
    config = api.load_options(
        TrainConfig, None, {"lora_parameters": parameters, "rank": 4, "model": Path("x")}
    )
    assert config.lora_parameters.rank == 4
    assert config.lora_parameters.keys == ["a"]
    assert config.model == "x"
    # What the caller holds is the caller's.
    assert parameters == {"keys": ["a"], "dropout": 0.1}


def test_inner_options_in_the_other_order() -> None:
    given = {"scale": 2.0, "lora_parameters": {"rank": 3}}
    config = api.load_options(TrainConfig, None, given)
    assert (config.lora_parameters.rank, config.lora_parameters.scale) == (3, 2.0)


def test_a_file_stands_below_the_arguments(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("iters: 3\nseed: 4\n")
    config = api.load_options(TrainConfig, str(file), {"iters": 5})
    assert (config.iters, config.seed) == (5, 4)


def test_wrong_arguments_start_nothing(runs_root: Path) -> None:
    with pytest.raises(LoraError, match=r"itres: not an option\. Did you mean 'iters'\?"):
        lora_nb.train(**OPTIONS, itres=5)
    with pytest.raises(LoraError, match=r"^resume_adapter_file: gone does not exist\."):
        lora_nb.train(**OPTIONS, resume_adapter_file="gone")
    with pytest.raises(LoraError, match=r"^adapter_path: gone does not exist\."):
        lora_nb.test(**OPTIONS, adapter_path="gone")
    with pytest.raises(LoraError, match=r"^adapter_path: adapters does not exist\."):
        lora_nb.generate("hi", model="m", compare=True)
    with pytest.raises(LoraError, match=r"^--compare needs an adapter: give --adapter-path\.$"):
        api.generated(GenerateConfig(prompt="hi"), compare=True)
    assert not runs_root.exists()


def test_a_run_object_says_what_its_folder_says(runs_root: Path) -> None:
    folder = made(runs_root, started(), ended("completed"))
    run = lora_nb.attach()
    assert (run.name, run.path, run.status) == (folder.name, folder.path, "completed")
    assert run.config == TrainConfig(**OPTIONS)
    assert run.checkpoints == []
    assert run.adapter_path is None
    assert run.wait().settle() == "completed"
    assert len(run.records) == 2
    for ask in (run.stop, run.pause, run.resume, run.evaluate):
        with pytest.raises(LoraError, match="is completed: there is no worker to"):
            ask()
    with pytest.raises(LoraError, match="there is no worker to stop"):
        lora_nb.stop(folder.name)
    run.abort()
    assert run.status == "completed"


def test_a_run_itself_says_which_is_meant(runs_root: Path) -> None:
    end = dataclasses.replace(ended("completed"), step=1)
    run = Run(made(runs_root, started(), loss(1), end, name="itself"))
    made(runs_root, started(), name="later")
    for meant in (run, run.path, run.name):
        assert lora_nb.attach(meant).name == run.name
        with pytest.raises(LoraError, match=f"^{run.name} is completed: there is no worker"):
            lora_nb.stop(meant)
        with pytest.raises(LoraError, match=f"^{run.name} is completed: all of its 10 steps"):
            lora_nb.train(resume=meant)


def test_a_rate_may_be_any_number_and_nothing_else(runs_root: Path) -> None:
    run = Run(made(runs_root, started()))
    held = lock.take(run.folder.lock_path)
    assert held is not None
    run.set_learning_rate(np.float32(0.5))  # type: ignore[arg-type]
    (request,) = Inbox(run.folder.control_path).take()
    assert request == Request("learning_rate", {"value": 0.5})
    with pytest.raises(LoraError) as caught:
        run.set_learning_rate("fast")  # type: ignore[arg-type]
    os.close(held)
    assert str(caught.value) == "learning_rate: 'fast' is no number."


def test_the_package_offers_its_names_and_no_others() -> None:
    assert set(lora_nb.__all__) <= set(dir(lora_nb)) | {"__version__"}
    for name in lora_nb.__all__:
        assert getattr(lora_nb, name) is not None
    with pytest.raises(AttributeError, match="module 'lora_nb' has no attribute 'trian'"):
        _ = lora_nb.trian
