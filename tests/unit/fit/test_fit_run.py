"""A fit check of a tiny model in a worker: true to what training takes, and a limit to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb import api
from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.fitting import look
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Ended, Notice, Progress, TrainLoss
from lora_nb.runs.folder import RunFolder


def options(model: Path, data: Path, tmp_path: Path, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "model": str(model), "data": str(data), "adapter_path": str(tmp_path / "adapters"),
        "num_layers": 2, "batch_size": 4, "iters": 8, "mask_prompt": True, "val_batches": 2,
        "steps_per_report": 4, "steps_per_eval": 8,
    }  # fmt: skip
    return usual | more


def trained(values: dict[str, Any]) -> RunFolder:
    run = launch.start(TrainConfig(**values))
    for _ in attach.follow(run):
        pass
    attach.wait(run, 20)
    return run


@pytest.mark.parametrize("more", [{"grad_checkpoint": True}, {"trunk_cache": "memory"}])
def test_the_predicted_peak_is_that_of_training(
    more: dict[str, Any], model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "cache_folder", lambda: tmp_path)
    values = options(model, data, tmp_path, **more)
    found = lora_nb.fit(**values).result
    run = trained(values)
    assert run.status == "completed"
    real = [r.event.peak_memory for r in run.records() if isinstance(r.event, TrainLoss)][-1]
    assert found.candidates[0].measured
    assert found.candidates[0].peak == pytest.approx(real * 1e9, rel=0.15)
    assert found.fits
    assert (found.rows, found.steps) == (4, 8)
    assert (found.cache > 0) == (more.get("trunk_cache") == "memory")
    assert list((tmp_path / "fit").iterdir()) == []
    # A model this small is trained without a trial.
    stages = {r.event.stage for r in run.records() if isinstance(r.event, Progress)}
    assert "checking memory" not in stages


def test_a_training_that_can_not_fit_is_refused_before_it_starts(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than Python itself needs: nothing is left for the model.
    monkeypatch.setenv("LORA_NB_MEMORY", "50M")
    values = options(model, data, tmp_path)
    report = lora_nb.fit(**values)
    assert not report.fits
    assert not report.result.candidates[0].measured
    run = trained(values)
    end = next(r.event for r in run.records() if isinstance(r.event, Ended))
    assert end.status == "failed"
    assert end.message.startswith("It does not fit: the peak is ")
    assert end.message.endswith("(--fit off trains nevertheless.)")
    assert trained(values | {"fit": "off"}).status == "completed"


def test_a_check_that_is_wanted_is_made(model: Path, data: Path, tmp_path: Path) -> None:
    run = trained(options(model, data, tmp_path, fit="check"))
    told = [r.event.message for r in run.records() if isinstance(r.event, Notice)]
    assert run.status == "completed"
    assert any(message.startswith("It fits: the peak is ") for message in told)


def test_what_is_wrong_with_the_options_is_said(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="num_layers: 99 blocks can't be trained"):
        api.fit(**options(model, data, tmp_path, num_layers=99))


def test_best_and_early_need_validation_rows(model: Path, data: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "train.jsonl").write_bytes((data / "train.jsonl").read_bytes())
    run = trained(options(model, alone, tmp_path, publish="best"))
    end = next(r.event for r in run.records() if isinstance(r.event, Ended))
    assert end.message.startswith("publish: needs validation rows, but the data has none.")


def test_the_best_adapter_is_published_and_an_early_stop_is_told(
    model: Path, data: Path, tmp_path: Path
) -> None:
    values = options(
        model, data, tmp_path, publish="best", early_stop=2, keep_checkpoints=1, iters=60,
        steps_per_eval=2, save_every=2, learning_rate=0.1,
    )  # fmt: skip
    run = trained(values)
    end = next(r.event for r in run.records() if isinstance(r.event, Ended))
    assert end.status == "completed"
    assert end.early == "the validation loss has not fallen for 2 validations"
    assert end.message.startswith(f"Stopped early, as {end.early}: {end.step} steps, adapter of ")
    steps = [checkpoint.step for checkpoint in run.checkpoints]
    best = [checkpoint for checkpoint in run.checkpoints if checkpoint.best]
    assert steps[-1] == end.step < 60
    assert len(steps) == 2
    published = tmp_path / "adapters" / "adapters.safetensors"
    assert published.read_bytes() == (best[-1].path / "adapters.safetensors").read_bytes()
    assert f"of step {best[-1].step} in " in end.message
