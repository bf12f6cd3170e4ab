"""What is tried in a fit check, and what of the process's memory is not the arrays'."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.llama import TransformerBlock

from lora_nb import api
from lora_nb.config import ModelOptions, TrainConfig
from lora_nb.core.batching import Split
from lora_nb.core.fit import probe
from lora_nb.core.fit_plan import Probed
from lora_nb.core.load import load_base
from lora_nb.core.trainable import make_trainable
from lora_nb.errors import LoraError
from lora_nb.worker import fit
from lora_nb.worker.prepare import Ready
from tests.unit.core.kit import config_of, split_of


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what a probe does to the class of a model's blocks to have activations recomputed."""
    monkeypatch.setattr(TransformerBlock, "__call__", TransformerBlock.__call__)


def named(config: TrainConfig, lengths: list[int], name: str = "train") -> Split:
    made = split_of(lengths, config, shuffle=name == "train")
    return Split(made.prepared, made.plan, name)


def probed(model: Path, folder: Path, config: TrainConfig, **splits: Split) -> Probed:
    made = load_base(model, ModelOptions(model=str(model)))
    make_trainable(made.model, config)
    return probe(
        made, config, splits, limit=10**12, folder=folder, tick=lambda done, total: None
    )  # fmt: skip


def seeded(wanted: Any, lengths: list[int], **options: Any) -> tuple[TrainConfig, Split]:
    """Options with the first seed whose batches are as wanted."""
    for seed in range(200):
        config = config_of(seed=seed, val_batches=0, **options)
        train = named(config, lengths)
        if wanted(train):
            return config, train
    raise AssertionError("no seed gives such batches")


def test_a_run_shorter_than_an_epoch_meets_some_batches_only(model: Path, tmp_path: Path) -> None:
    lengths = [9] * 14 + [60] * 2
    config, train = seeded(
        lambda train: all(train.batch(step).tokens.shape[1] < 60 for step in range(2)),
        lengths,
        iters=2,
    )
    found = probed(model, tmp_path, config, train=train)
    assert found.length == train.batch(0).tokens.shape[1]
    assert found.shares == [1.0, 1.0]


def test_the_longest_batch_may_come_in_a_later_epoch(model: Path, tmp_path: Path) -> None:
    config, train = seeded(
        lambda train: max(train.batch(step).tokens.size for step in (0, 1)) < 100,
        [10] * 4 + [60],
        iters=12,
        batch_size=4,
    )
    found = probed(model, tmp_path, config, train=train)
    assert (found.rows, found.length >= 60) == (4, True)
    assert len(found.shares) == 2
    assert max(found.shares) < 0.5


def test_what_a_test_at_the_end_takes_is_measured(model: Path, tmp_path: Path) -> None:
    config = config_of(iters=2, test=True, val_batches=0, trunk_cache="off")
    train, test = named(config, [9] * 4), named(config, [200] * 2, "test")
    assert probed(model, tmp_path, config, train=train, test=test).evaluation > 10**6
    assert probed(model, tmp_path, config_of(iters=2), train=train, test=test).evaluation == 0


@pytest.mark.parametrize("size", [1_000, 300_000])
def test_memory_of_arrays_that_are_gone_is_none_beside_them(size: int) -> None:
    before = fit._overhead()
    arrays = [mx.ones(size) + number for number in range(60_000_000 // size)]
    mx.eval(arrays)
    kept = arrays[-1]
    del arrays
    assert fit._overhead() - before < 60_000_000
    assert kept.shape == (size,)


@pytest.mark.parametrize(
    ("config", "free", "small"),
    [
        ({"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 9}, 10, True),
        ({"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 9}, 1, False),
        # As fp32, 4 bits become eight times as large, wherever the config says so.
        (
            {"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 9, "quantization": {}},
            10,
            False,
        ),
        (
            {
                "text_config": {
                    "model_type": "gemma3_text",
                    "hidden_size": 8,
                    "num_hidden_layers": 2,
                    "vocab_size": 9,
                },
                "quantization": {"bits": 4},
            },
            10,
            False,
        ),
        # Of other names nothing is known.
        ({"d_model": 8, "n_layers": 2, "vocab_size": 9}, 10**3, False),
    ],
)
def test_only_what_is_known_to_be_small_is_not_tried(
    config: dict[str, Any], free: int, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (tmp_path / "model.safetensors").write_bytes(bytes(10**6))
    monkeypatch.setattr(fit, "free_memory", lambda: free * 10**6)
    options = config_of()
    splits = {"train": named(options, [9] * 4)}
    ready = Ready(tmp_path, None, splits, None)  # type: ignore[arg-type]
    assert fit._is_small(options, ready) is small


def test_packing_that_training_would_refuse_is_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["rope_scaling"] = {"type": "dynamic", "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoraError, match=r"packing: this model can't be .* the length of"):
        api.fit(model=str(folder), data=str(data), packing=True, iters=2, max_seq_length=128)
