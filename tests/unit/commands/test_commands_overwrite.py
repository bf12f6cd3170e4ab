"""The adapter of one run is never replaced by another, unless that is wanted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from lora_nb.runs.events import Notice
from tests.tiny import until


@pytest.fixture
def usual(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("LORA_NB_RUNS", str(tmp_path / "runs"))
    return {
        "model": str(model),
        "data": str(data),
        "adapter_path": str(tmp_path / "adapters"),
        "batch_size": 2,
        "val_batches": 0,
    }


def test_an_adapter_of_another_run_is_only_replaced_if_that_is_wanted(
    usual: dict[str, Any], tmp_path: Path
) -> None:
    first = lora_nb.train(**usual, iters=2, name="first")
    published = tmp_path / "adapters" / ADAPTER_WEIGHTS
    earned = published.read_bytes()
    with pytest.raises(LoraError) as caught:
        lora_nb.train(**usual, iters=2, seed=3)
    assert str(caught.value) == (
        f"adapter_path: {published.parent} holds the adapter of the run {first.name}. Give "
        "--overwrite to replace it, or another folder with --adapter-path."
    )
    assert [run.name for run in store.all_runs()] == [first.name]

    more = lora_nb.train(resume="first", iters=3)
    assert more.name == first.name
    assert published.read_bytes() != earned

    second = lora_nb.train(**usual, iters=2, seed=3, overwrite=True)
    config = json.loads((tmp_path / "adapters" / ADAPTER_CONFIG).read_text())
    assert config["run"] == second.name
    with pytest.raises(LoraError, match=f"holds the adapter of the run {second.name}"):
        lora_nb.train(resume="first", iters=4)
    assert lora_nb.attach("first").status == "completed"


def test_an_adapter_from_elsewhere_is_left_alone(usual: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / ADAPTER_WEIGHTS).write_bytes(b"mlx-lm's")
    with pytest.raises(LoraError, match=r"adapters holds an adapter already\. Give --overwrite to"):
        lora_nb.train(**usual, iters=2)
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).read_bytes() == b"mlx-lm's"


def test_an_adapter_that_came_meanwhile_is_left_alone(
    usual: dict[str, Any], tmp_path: Path
) -> None:
    other = lora_nb.train(**usual | {"adapter_path": str(tmp_path / "other")}, iters=1)
    run = lora_nb.train(**usual, iters=1, name="late", background=True)
    shutil.copytree(tmp_path / "other", tmp_path / "adapters", dirs_exist_ok=True)
    run.wait()
    assert run.status == "failed"
    assert run.folder.ended is not None
    assert re.fullmatch(
        rf"Step 1 is saved in .*0000001, but not published. adapter_path: .*adapters holds the "
        rf"adapter of the run {other.name}. Give --overwrite to replace it, or another folder with "
        rf"--adapter-path. `%lora_train --resume {run.name}` publishes it then.",
        run.folder.ended.message,
    )
    assert [checkpoint.step for checkpoint in run.checkpoints] == [1]

    mine = tmp_path / "mine"
    again = lora_nb.train(resume="late", adapter_path=str(mine))
    assert again.status == "completed"
    saved = run.checkpoints[0].path / ADAPTER_WEIGHTS
    assert (mine / ADAPTER_WEIGHTS).read_bytes() == saved.read_bytes()
    assert lora_nb.attach(other.name).status == "completed"


def test_a_training_goes_on_while_its_adapter_has_no_place(
    usual: dict[str, Any], tmp_path: Path
) -> None:
    run = lora_nb.train(**usual, iters=10**6, save_every=2, name="placeless", background=True)
    place = tmp_path / "adapters"
    until(lambda: run.checkpoints, "a checkpoint")
    shutil.rmtree(place)
    place.touch()
    warned = until(lambda: _not_published(run), "a warning")[0]
    assert re.fullmatch(
        rf"Step \d+ is saved in .*, but not published. adapter_path: can't write to {place} \(File "
        rf"exists\). Make room there, or give another folder with --adapter-path. The next save "
        "tries it again.",
        warned,
    )
    place.unlink()
    until((place / ADAPTER_WEIGHTS).is_file, "the next save")
    run.stop()
    run.wait(60)
    assert run.status == "stopped"
    saved = run.checkpoints[-1].path / ADAPTER_WEIGHTS
    assert (place / ADAPTER_WEIGHTS).read_bytes() == saved.read_bytes()


def _not_published(run: lora_nb.Run) -> list[str]:
    events = [record.event for record in run.records]
    return [e.message for e in events if isinstance(e, Notice) and "not published" in e.message]


def test_starting_from_an_adapter_of_another_base_is_refused(
    usual: dict[str, Any], tmp_path: Path
) -> None:
    lora_nb.train(**usual, iters=1)
    base = Path(usual["model"])
    shutil.copytree(base, tmp_path / "like_it")
    weights = next((tmp_path / "like_it").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)
    again = usual | {"model": str(tmp_path / "like_it"), "adapter_path": str(tmp_path / "new")}
    with pytest.raises(LoraError) as caught:
        lora_nb.train(**again, iters=1, resume_adapter_file=str(tmp_path / "adapters"))
    assert str(caught.value) == (
        f"resume_adapter_file: {tmp_path / 'adapters' / ADAPTER_WEIGHTS} was trained otherwise: "
        f"the base model was {base}, now it is {tmp_path / 'like_it'}, with other weights. "
        "Use the same values, or start without it."
    )
