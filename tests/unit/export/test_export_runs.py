"""Fusing and comparing as runs, from their options to what is shown of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.config import CompareConfig, FuseConfig, load
from lora_nb.display import mimebundle
from lora_nb.display.comparison import Comparison
from lora_nb.errors import LoraError
from lora_nb.runs import attach, launch
from lora_nb.runs.adapters import base_of, find_adapter, run_of
from lora_nb.runs.events import Notice
from lora_nb.runs.folder import RunFolder
from tests.conformance.families.kit import convert
from tests.tiny import write_rows


def ran(config: Any, status: str = "completed") -> RunFolder:
    run = launch.start(config)
    assert attach.wait(run, 120), run.log_tail()
    assert run.status == status, run.log_tail()
    return run


def fidelity_of(run: RunFolder) -> Any:
    frame = lora_nb.Run(run).fidelity
    assert frame is not None
    return frame


def message_of(run: RunFolder) -> str:
    return str(getattr(run.records()[-1].event, "message", ""))


def fuse_config(**options: Any) -> FuseConfig:
    return load(FuseConfig, flags=options)


def test_a_fused_model(
    finished: Path, home: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rows are those of the training, which is looked for among the runs.
    monkeypatch.setenv("LORA_NB_RUNS", str(home / "runs"))
    (model / "tokenizer.model").write_bytes(b"pieces")
    (model / "generation_config.json").write_text("{}")
    (model / "NOTICE").write_text("made by others")
    (model / "modeling_own.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "fused"
    old.mkdir()
    (old / "config.json").write_text("{}")
    (old / "model-00001-of-00002.safetensors").write_text("stale")
    for left in (".fused.part-1", ".fused.old-1", ".peft.part-1"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "of a killed run").write_text("")
    options = {"model": str(model), "adapter_path": str(home / "adapters"), "save_path": "fused"}
    refused = ran(fuse_config(**options), "failed")
    assert "is already there. Name another folder, or add --overwrite" in message_of(refused)
    run = ran(fuse_config(**options, overwrite=True, export_peft="peft"))
    for path in (model / name for name in ("tokenizer.model", "generation_config.json", "NOTICE")):
        assert (old / path.name).read_bytes() == path.read_bytes()
        path.unlink()
    (model / "modeling_own.py").unlink()
    assert sorted(path.name for path in old.iterdir()) == [
        "NOTICE",
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    card = (old / "README.md").read_text()
    assert "## Check" in card
    assert "| iters | 6 |" in card
    assert str(home) not in card
    assert str(home) not in (tmp_path / "peft" / "adapter_config.json").read_text()

    frame = fidelity_of(run)
    assert frame.loc["fused", "agreement"] == 1.0
    assert frame.loc["fused", "max_difference"] < 1e-3
    assert frame.loc["base", "loss"] > frame.loc["adapter", "loss"]
    assert frame.loc["fused", "loss"] == pytest.approx(frame.loc["adapter", "loss"], abs=1e-5)
    stored = json.loads(run.fidelity_path.read_text())
    assert stored["source"] == "valid rows"
    assert len(stored["by_row"]) == stored["rows"] == 8
    bundle = mimebundle(run)
    assert "compared on 8 valid rows" in bundle["text/plain"]
    assert "base and adapter" in bundle["text/html"]


def test_what_is_lost_by_quantising_again_is_told(
    finished: Path, home: Path, model: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    convert(model, packed, quantize=True, q_bits=2, q_group_size=64)
    options = {"model": str(packed), "adapter_path": str(home / "adapters"), "check_rows": 4}
    run = ran(fuse_config(**options, save_path=str(tmp_path / "fused")))
    told = [r.event.message for r in run.records() if isinstance(r.event, Notice)]
    lost = next(text for text in told if "does not answer as base and adapter do" in text)
    for way in ("--dequantize", "more bits", "the adapter alone"):
        assert way in lost
    frame = fidelity_of(run)
    run = ran(fuse_config(**options, save_path=str(tmp_path / "plain"), dequantize=True))
    plain = fidelity_of(run)
    assert plain.loc["fused", "agreement"] == 1.0
    assert frame.loc["fused", "max_difference"] > 100 * plain.loc["fused", "max_difference"]
    told = [r.event.message for r in run.records() if isinstance(r.event, Notice)]
    (only,) = told
    assert "was trained on other weights than those of" in only


@pytest.mark.parametrize("where", ["model", "above", "adapter"])
def test_nothing_that_is_needed_is_overwritten(
    where: str, finished: Path, home: Path, model: Path
) -> None:
    adapter = home / "adapters"
    target = {"model": model, "above": home, "adapter": adapter}[where]
    before = {path: path.stat().st_mtime_ns for path in sorted(home.rglob("*"))}
    options = {"model": str(model), "adapter_path": str(adapter), "save_path": str(target)}
    run = ran(fuse_config(**options, overwrite=True), "failed")
    assert "is, or holds, the" in message_of(run)
    assert {path: path.stat().st_mtime_ns for path in sorted(home.rglob("*"))} == before


def test_the_training_of_an_adapter_is_found(
    finished: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(home / "runs"))
    run = RunFolder(finished)
    published = run_of(home / "adapters")
    assert published is not None
    assert published.name == run.name
    assert run.adapter_path is not None
    there = run_of(run.adapter_path)
    assert there is not None
    assert there.name == run.name
    assert base_of(home / "adapters") == str(home / "llama-0-4")
    assert find_adapter("finished@3") == finished / "checkpoints" / "0000003"
    assert find_adapter("latest@3") == finished / "checkpoints" / "0000003"
    with pytest.raises(LoraError, match=r"has no checkpoint of step 4 \(it has 3, 6\)"):
        find_adapter("finished@4")
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("adapters.safetensors", "adapter_config.json"):
        (copied / name).write_bytes((home / "adapters" / name).read_bytes())
    assert run_of(copied) is None
    assert run_of(tmp_path) is None


def test_side_by_side(
    finished: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(home / "runs"))
    monkeypatch.chdir(home)
    found = lora_nb.compare("base", "adapters", "finished@3", rows=3, max_tokens=6)
    frame = found.frame
    assert list(frame.columns[:3]) == ["row", "prompt", "expected"]
    assert len(frame) == 3
    losses = frame["finished@3 loss"].tolist()
    assert losses == sorted(losses, reverse=True)
    assert (frame["base loss"] != frame["adapters loss"]).all()
    assert sorted(frame["row"]) == ["test.jsonl:1", "test.jsonl:2", "test.jsonl:3"]
    assert frame["expected"].str.startswith("SELECT age").all()
    assert found.summary.loc["base", "rows"] == 3
    capsys.readouterr()
    again = lora_nb.compare("base", "adapters", "finished@3", rows=3, max_tokens=6)
    assert repr(again) == repr(found)
    assert again._repr_html_() == found._repr_html_()
    with pytest.raises(LoraError, match=r"^contenders: gone does not exist"):
        lora_nb.compare("base", "gone", model=str(home / "llama-0-4"), data=str(home / "rows"))


def test_plain_text_has_losses_only(home: Path, model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", ({"text": f"how old is {n}"} for n in range(3)))
    options = {"contenders": ["base"], "model": str(model), "data": str(tmp_path)}
    run = ran(load(CompareConfig, flags=options))
    found = Comparison.of(run.comparison_path)
    assert found.frame["base exact"].isna().all()
    assert found.frame["base answer"].tolist() == [""] * 3
    assert found.frame["base loss"].gt(1).all()


def test_what_foreign_texts_say_is_escaped() -> None:
    answers = [{"loss": 1.0, "exact": False, "text": "<b>x</b>\x1b[1m"}]
    rows = [{"row": "test:1", "prompt": "<script>", "expected": "y", "answers": answers}]
    found = Comparison(["<i>"], rows)
    html = found._repr_html_()
    assert not any(tag in html for tag in ("<script>", "<b>", "<i>"))
    assert "\x1b" not in repr(found)
