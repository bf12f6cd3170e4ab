"""Magics and functions with a real worker and a real engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lora_nb
from lora_nb import api
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import engine
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from lora_nb.runs.folder import RunFolder
from tests.tiny import options_for, until
from tests.unit.commands.conftest import Shell


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    yield
    engine.release()


def words_for(home: Path, **options: object) -> str:
    pairs = options_for(home, **options).items()
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in pairs)


def test_training_in_a_cell_to_its_end(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(home, adapter_path=tmp_path / "adapters")
    run = shell.value(f"run = %lora_train {words} --test --test-batches -1\nrun")
    shown = capsys.readouterr().out

    assert isinstance(run, api.Run)
    assert run.status == "completed"
    assert "step 6/6" in shown
    assert "Traceback" not in shown
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).is_file()
    assert run.metrics["train_loss"].dropna().index.tolist() == [2, 4, 6]
    assert run.metrics["valid_loss"].dropna().index.tolist() == [0, 6]
    assert isinstance(run.config, TrainConfig)
    assert run.config.batch_size == 4
    assert [checkpoint.step for checkpoint in run.checkpoints] == [6]
    assert run.adapter_path == run.checkpoints[-1].path
    assert len(run.plot().axes) >= 1
    assert run.name in run.summary()
    assert shell.value("%lora_runs")["test_perplexity"].notna().all()


def test_a_run_that_fails_is_a_cell_that_fails(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(home, adapter_path=tmp_path / "adapters", num_layers=9)
    problem = shell.error(f"%lora_train {words}")
    shown = "".join(capsys.readouterr())
    assert str(problem) == (
        "num_layers: 9 blocks can't be trained, the model has 4. Give at most 4, or -1 for all."
    )
    assert f"LoraError: {problem}" in shown
    assert "Traceback" not in shown


def test_a_run_in_the_background(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(home, adapter_path=tmp_path / "adapters", iters=10**6)
    run = shell.value(f"run = %lora_train --background {words}\nrun")
    assert run.status in ("starting", "running")
    with pytest.raises(LoraError, match=r"is still (starting|running) after 0\.1 seconds"):
        run.wait(0.1)
    until(lambda: len(run.metrics) > 1, "the first report")

    same = shell.value("%lora_attach --background")
    assert same.name == run.name
    assert same.status == "running"
    capsys.readouterr()
    shell.value("%lora_stop")
    assert capsys.readouterr().out == f"{run.name}: stopped\n"
    assert run.wait(10).status == "stopped"
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).is_file()

    again = shell.value("%lora_attach")
    assert again.status == "stopped"
    assert shell.value("%lora_stop --abort") is None


def test_testing_base_and_adapter(
    shell: Shell, home: Path, finished: Path, runs_root: Path
) -> None:
    keep = ("model", "data", "batch_size")
    options = {key: value for key, value in options_for(home).items() if key in keep}
    adapted = lora_nb.test(adapter_path=str(home / "adapters"), test_batches=-1, **options)
    base = lora_nb.test(test_batches=-1, **options)
    with_adapter, without = (
        api.list_runs().set_index("run")["test_perplexity"][run.name] for run in (adapted, base)
    )
    assert np.isfinite(with_adapter)
    assert with_adapter < without
    assert isinstance(adapted.config, OptionsOfTest)
    assert adapted.folder.verb == "test"


def test_going_on_from_a_run(home: Path, finished: Path, tmp_path: Path, runs_root: Path) -> None:
    options = options_for(home, iters=1, adapter_path=str(tmp_path / "adapters"))
    run = lora_nb.train(**options, resume_adapter_file=finished)
    first = RunFolder(finished)
    assert isinstance(run.config, TrainConfig)
    assert run.config.resume_adapter_file == str(first.adapter_path)
    cold = api.Run(first).metrics["valid_loss"]
    assert run.metrics["valid_loss"][0] == pytest.approx(cold[6], abs=1e-4)
    assert abs(cold[0] - cold[6]) > 0.01


def test_a_resumed_run_no_longer_needs_the_weights_it_began_with(
    home: Path, finished: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    adapter = RunFolder(finished).adapter_path
    assert adapter is not None
    shutil.copytree(adapter, begun)
    options = options_for(home, iters=1, adapter_path=str(tmp_path / "adapters"))
    run = lora_nb.train(**options, resume_adapter_file=str(begun))
    shutil.rmtree(begun)
    again = lora_nb.train(resume=run.name, iters=2)
    assert (again.status, again.folder.checkpoints[-1].step) == ("completed", 2)


def test_generating_with_base_and_adapter_side_by_side(
    shell: Shell, home: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--model {options_for(home)['model']} --max-tokens 8"
    plain = shell.value(f"text = %lora_generate {words} how old is Bob?\ntext")
    assert capsys.readouterr().out.strip() != ""
    both = shell.value(
        f"text = %lora_generate {words} --compare --adapter-path {finished} how old is Bob?\ntext"
    )

    assert set(both.texts) == {"base", "adapter"}
    assert both.texts["base"] == plain.text
    assert both.texts["adapter"] != plain.text
    assert plain.stats["base generation_tokens"] == "8"
    assert both.stats["adapter finish_reason"] in ("length", "stop")
    tuned = lora_nb.generate(
        "how old is Bob?", model=options_for(home)["model"], max_tokens=8,
        adapter_path=home / "adapters",
    )  # fmt: skip
    assert tuned.text == both.texts["adapter"]
    assert engine.is_running()
    shell.value("%lora_generate --release")
    assert capsys.readouterr().out.endswith("The model is out of memory.\n")
    assert not engine.is_running()
