"""The verbs as functions: keyword arguments become the same configs as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb import api
from lora_nb.config import GenerateConfig, TrainConfig
from lora_nb.errors import LoraError
from tests.unit.runs.kit import ended, made, started

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


def test_the_package_offers_its_names_and_no_others() -> None:
    assert set(lora_nb.__all__) <= set(dir(lora_nb)) | {"__version__"}
    for name in lora_nb.__all__:
        assert getattr(lora_nb, name) is not None
    with pytest.raises(AttributeError, match="module 'lora_nb' has no attribute 'trian'"):
        _ = lora_nb.trian
