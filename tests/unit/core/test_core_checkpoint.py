"""Checkpoints: whole or not there, and never worse than the one before."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest

from lora_nb.core import checkpoint as checkpoints
from lora_nb.core.adapters import read_weights
from lora_nb.core.checkpoint import CheckpointWriter, NotPublishedError
from lora_nb.core.durable import sha256_of
from lora_nb.core.step import Stepper
from lora_nb.core.trainable import make_trainable
from lora_nb.errors import LoraError
from lora_nb.runs import whole_file
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from lora_nb.runs.whole_file import replace_file
from tests.unit.core.kit import batch_of, config_of, copied, distance, encoded, loaded, stir


class Training:
    """A model in training with a writer of checkpoints."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.net: nn.Module = loaded(model)
        described = make_trainable(self.net, config_of())
        stir(self.net)
        self.net.train()
        self.optimizer = optim.Adam(learning_rate=1e-3)
        self.stepper = Stepper(self.net, self.optimizer, seed=0)
        self.writer = CheckpointWriter(folder / "checkpoints", folder / "published", described)
        self.writer.prepare()
        self.published = folder / "published"
        self.step = 0

    def go_on(self, *, update: bool = True) -> None:
        self.step += 1
        self.stepper(batch_of([encoded(9, 1)]), self.step, update=update)

    def save(self, best: int = -1) -> Path:
        return self.writer.save(
            self.step,
            self.net,
            self.stepper.optimizer_state,
            self.stepper.carried,
            {"best_step": 3},
            best,
        )


@pytest.fixture
def training(model: Path, tmp_path: Path) -> Training:
    return Training(model, tmp_path)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_is_complete_and_its_manifest_true(training: Training) -> None:
    training.go_on(update=False)
    folder = training.save()
    manifest = json.loads((folder / "manifest.json").read_text())

    assert folder.name == "0000001"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*manifest["sha256"], "manifest.json"]
    )
    assert set(manifest["sha256"]) == {
        ADAPTER_CONFIG, ADAPTER_WEIGHTS, "carried.safetensors", "optimizer.safetensors",
        "state.json",
    }  # fmt: skip
    for name, wanted in manifest["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == wanted
    assert json.loads((folder / "state.json").read_text()) == {"step": 1, "best_step": 3}
    assert distance(read_weights(folder / ADAPTER_WEIGHTS), copied(training.net)) == 0
    assert [path.name for path in training.writer.folder.iterdir()] == ["0000001"]


def test_the_newest_adapter_is_published(training: Training) -> None:
    for _ in range(2):
        training.go_on()
        folder = training.save()
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            assert (training.published / name).read_bytes() == (folder / name).read_bytes()
    assert {path.name for path in training.published.iterdir()} == {ADAPTER_CONFIG, ADAPTER_WEIGHTS}


def test_nothing_private_is_published(training: Training) -> None:
    training.go_on()
    training.save()
    config = json.loads((training.published / ADAPTER_CONFIG).read_text())
    assert set(config) == {
        *("model", "model_type", "fine_tune_type", "num_layers", "lora_parameters"),
    }


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (mx, "save_safetensors"),
        (checkpoints, "_save_json"),
        (checkpoints, "sync_all"),
        (whole_file, "sync_file"),
    ],
)
def test_a_full_disk_leaves_the_checkpoint_and_adapter_before(
    module: Any, name: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.go_on()
    before = content_of(training.save())
    published = content_of(training.published)
    training.go_on()
    monkeypatch.setattr(module, name, full_disk)

    with pytest.raises(LoraError) as caught:
        training.save()

    monkeypatch.undo()
    assert str(caught.value) == (
        "Step 2: the checkpoint can't be written: [Errno 28] No space left on device. "
        "Free some disk space; earlier checkpoints are whole."
    )
    assert content_of(training.writer.folder / "0000001") == before
    assert content_of(training.published)[ADAPTER_WEIGHTS] == published[ADAPTER_WEIGHTS]
    assert not list(training.writer.folder.glob(".*"))
    assert not list(training.published.glob(".*"))


@pytest.mark.parametrize(("module", "name"), [(checkpoints, "replace_file"), (shutil, "copyfile")])
def test_where_only_the_adapters_place_is_full_the_checkpoint_is_whole(
    module: Any, name: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.go_on()
    training.save()
    published = content_of(training.published)
    training.go_on()
    monkeypatch.setattr(module, name, full_disk)
    with pytest.raises(NotPublishedError) as caught:
        training.save()
    monkeypatch.undo()
    saved = training.writer.folder / "0000002"
    assert str(caught.value) == (
        f"Step 2 is saved in {saved}, but not published. adapter_path: can't write to "
        f"{training.published} (No space left on device). Make room there, or give another folder "
        "with --adapter-path."
    )
    assert training.writer.published == 1
    assert content_of(training.published) == published
    hashes = json.loads((saved / "manifest.json").read_text())["sha256"]
    assert {name: sha256_of(saved / name) for name in hashes} == hashes

    training.writer.publish(2)
    assert training.writer.published == 2
    there = content_of(training.published)
    assert there[ADAPTER_WEIGHTS] == (saved / ADAPTER_WEIGHTS).read_bytes()


def test_of_two_runs_that_publish_at_once_one_wins(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.writer.described["run"] = "first"
    training.go_on()
    saved = training.save()
    shutil.rmtree(training.published)
    second = dataclasses.replace(
        training.writer, described={**training.writer.described, "run": "second"}
    )
    first = training.writer
    first.overwrite = second.overwrite = False
    told: list[str] = []

    def publish_too() -> None:
        try:
            second.publish(1)
        except NotPublishedError as problem:
            told.append(str(problem))

    other = threading.Thread(target=publish_too)
    copy = CheckpointWriter._copy

    def in_company(writer: CheckpointWriter, folder: Path) -> None:
        if writer is first:
            other.start()
            other.join(0.3)
        copy(writer, folder)

    monkeypatch.setattr(CheckpointWriter, "_copy", in_company)
    first.publish(1)
    other.join(10)
    place = training.published
    (words,) = told
    assert words == (
        f"Step 1 is saved in {saved}, but not published. adapter_path: {place} holds the adapter "
        "of the run first. Give --overwrite to replace it, or another folder with --adapter-path."
    )


def test_a_place_that_was_deleted_is_made_again(training: Training) -> None:
    training.go_on()
    shutil.rmtree(training.published)
    saved = training.save()
    there = (training.published / ADAPTER_WEIGHTS).read_bytes()
    assert there == (saved / ADAPTER_WEIGHTS).read_bytes()


def test_a_checkpoint_that_is_gone_takes_no_adapter_away(training: Training) -> None:
    training.go_on()
    saved = training.save()
    published = content_of(training.published)
    shutil.rmtree(saved)
    with pytest.raises(NotPublishedError) as caught:
        training.writer.publish(1)
    assert str(caught.value) == (
        f"Step 1 can't be published: {saved} is not there any more. Give --publish last to "
        "publish the newest one."
    )
    assert content_of(training.published) == published


def test_weights_that_are_no_numbers_are_not_saved(training: Training) -> None:
    training.go_on()
    training.save()
    published = content_of(training.published)
    name, weight = next(iter(copied(training.net).items()))
    training.net.load_weights([(name, mx.full(weight.shape, mx.inf))], strict=False)
    training.stepper.take_weights()
    training.go_on()

    with pytest.raises(LoraError, match=r"^Step 2: the trained weights are no longer finite, so"):
        training.save()
    assert content_of(training.published) == published
    assert [path.name for path in training.writer.folder.iterdir()] == ["0000001"]


def test_the_place_of_the_adapter_is_tried_before_the_training(model: Path, tmp_path: Path) -> None:
    (tmp_path / "published").touch()
    with pytest.raises(LoraError) as caught:
        Training(model, tmp_path)
    assert str(caught.value) == f"adapter_path: {tmp_path / 'published'} is a file, not a folder."
    below = CheckpointWriter(tmp_path / "checkpoints", tmp_path / "published" / "x", {})
    with pytest.raises(LoraError, match="is a file, not a folder"):
        below.prepare()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    replace_file(path, lambda part: part.write_text("one") and None)
    assert path.read_text() == "one"
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()

    def fail(part: Path) -> None:
        part.write_text("tw")
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        replace_file(path, fail)
    assert content_of(tmp_path) == {"x.txt": b"one"}


def test_of_many_checkpoints_the_newest_and_the_best_are_kept(
    training: Training, tmp_path: Path
) -> None:
    training.writer = dataclasses.replace(training.writer, keep=2)
    for best in (-1, 2, 2, 2, 2):
        training.go_on()
        training.save(best)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "0000002",
        "0000004",
        "0000005",
    ]


def test_only_the_best_is_published(training: Training) -> None:
    training.writer = dataclasses.replace(training.writer, only_best=True)
    training.go_on()
    training.save()
    assert list(training.published.iterdir()) == []
    training.go_on()
    best = training.save(2)
    training.go_on()
    last = training.save(2)
    published = (training.published / ADAPTER_WEIGHTS).read_bytes()
    assert published == (best / ADAPTER_WEIGHTS).read_bytes()
    assert published != (last / ADAPTER_WEIGHTS).read_bytes()


def test_what_killed_writers_left_is_swept_away(training: Training) -> None:
    killed = training.published / ".999999999-adapters.safetensors"
    living = training.published / f".{os.getpid()}-adapters.safetensors"
    users = training.published / ".my-notes"
    for path in (killed, living, users):
        path.touch()
    training.writer.prepare()
    assert [path.exists() for path in (killed, living, users)] == [False, True, True]
