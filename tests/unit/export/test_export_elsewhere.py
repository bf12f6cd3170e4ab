"""Adapters that are fused, compared and sent from other folders, onto other models."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.tokenizer_utils import load as load_tokenizer

import lora_nb
from lora_nb.config import CompareConfig, FuseConfig, TrainConfig, load
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.data.templates import CHATML, resolve_template
from lora_nb.export.hub_card import dressed
from lora_nb.export.hub_files import pack
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Notice
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.places import base_for, seen_from, step_of
from tests.tiny import data_folder, model_folder, options_for, write_rows

TEMPLATE = "{% for m in messages %}<|im_start|>OWN {{ m.content }}<|im_end|>{% endfor %}"


def ran(config: Any) -> RunFolder:
    run = launch.start(config)
    assert attach.wait(run, 120), run.log_tail()
    assert run.status == "completed", run.log_tail()
    return run


def fused(**options: Any) -> RunFolder:
    return ran(load(FuseConfig, flags={"check_rows": 2, **options}))


def notices(run: RunFolder) -> list[str]:
    return [r.event.message for r in run.records() if isinstance(r.event, Notice)]


@pytest.fixture(scope="module")
def project(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a training was started in, with paths that look like names on the Hub."""
    folder = tmp_path_factory.mktemp("project")
    for parent, name, real in (
        ("models", "mine", model_folder(home)),
        ("data", "rows", data_folder(home)),
    ):
        (folder / parent).mkdir()
        (folder / parent / name).symlink_to(real)
    (folder / "own.jinja").write_text(TEMPLATE)
    options = options_for(home, model="models/mine", data="data/rows", iters=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LORA_NB_RUNS", str(folder / "runs"))
        ran(TrainConfig(**options, name="one", chat_template="own.jinja"))
        options["model"] = str(model_folder(home, seed=1))
        ran(TrainConfig(**options, name="two", adapter_path="others"))
    return folder


@pytest.fixture
def elsewhere(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_NB_RUNS", str(project / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_are_those_of_the_run(project: Path, elsewhere: Path) -> None:
    run = RunFolder(next(project.glob("runs/*-one")))
    assert base_for(project / "adapters", run) == str(project / "models" / "mine")
    assert seen_from(run, "data/rows") == str(project / "data" / "rows")
    assert seen_from(run, "Qwen/Qwen3-0.6b") == "Qwen/Qwen3-0.6b"
    assert seen_from(run, "demo") == "demo"
    assert seen_from(None, "data/rows") == "data/rows"
    assert step_of(project / "adapters", run) == 2
    assert step_of(run.checkpoints[0].path, run) == run.checkpoints[0].step
    assert step_of(project / "others", run) is None


def test_names_of_folders_are_none_of_the_hub(project: Path, elsewhere: Path) -> None:
    run = fused(adapter_path=str(project / "adapters"), save_path="fused")
    card = (elsewhere / "fused" / "README.md").read_text()
    assert "| data | rows |" in card
    assert "adapter on `mine`" in card
    sent = dressed(pack(project / "adapters"), "me/tiny", None)
    texts = {file.name: file.text or "" for file in sent.files}
    assert "adapter for `mine`" in texts["README.md"]
    assert '"model": "mine"' in texts["adapter_config.json"]
    for text in (card, *texts.values()):
        for name in ("models/mine", "data/rows", "base_model", "datasets", str(project)):
            assert name not in text
    assert notices(run) == []


def test_the_template_goes_with_the_adapter(
    project: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the run, and where the file that was given has changed."""
    monkeypatch.setenv("LORA_NB_RUNS", str(tmp_path / "none"))
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (project / "adapters").iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "fused"
    base, peft = str(model_folder(home)), tmp_path / "peft"
    fused(model=base, adapter_path=str(moved), save_path=str(target), export_peft=str(peft))
    for folder in (target, peft):
        assert (folder / "chat_template.jinja").read_text() == TEMPLATE
    again = tmp_path / "again"
    fused(model=base, adapter_path=str(peft), save_path=str(again))
    assert (again / "chat_template.jinja").read_text() == TEMPLATE


def test_chatml_goes_along_where_the_base_has_no_template(home: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_folder(home), base)
    settings = json.loads((base / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    options = options_for(home, model=str(base), iters=1)
    texts = tmp_path / "texts"
    texts.mkdir()
    write_rows(texts / "train.jsonl", [{"text": "SELECT age FROM singers"}] * 8)
    found = {}
    for name, data in (("chats", options["data"]), ("texts", str(texts))):
        folder, target = tmp_path / f"{name}-adapter", tmp_path / f"{name}-fused"
        ran(TrainConfig(**options | {"data": data, "adapter_path": str(folder), "name": name}))
        fused(model=str(base), data=data, adapter_path=str(folder), save_path=str(target))
        found[name] = [(each / "chat_template.jinja").is_file() for each in (folder, target)]
    assert found == {"chats": [True, True], "texts": [False, False]}
    words = load_tokenizer(tmp_path / "chats-fused")
    ways = (resolve_template(each, None) for each in (words, load_tokenizer(base)))
    assert {(way.text, way.ending) for way in ways} == {(CHATML, ())}


def test_who_has_named_a_base_that_is_gone(project: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (project / "others").iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(config | {"model": "./gone"}))
    told = f"model: ./gone does not exist.*the base model that the adapter in {moved} names"
    for run in (
        launch.start(load(FuseConfig, flags={"adapter_path": str(moved)})),
        launch.start(load(CompareConfig, flags={"contenders": [str(moved)], "data": "demo"})),
    ):
        assert attach.wait(run, 120), run.log_tail()
        assert run.ended is not None
        assert re.match(told, run.ended.message), run.ended.message


def test_a_base_of_other_weights_is_told(project: Path, home: Path, elsewhere: Path) -> None:
    other = model_folder(home, seed=1)
    run = fused(model=str(other), adapter_path=str(project / "adapters"), save_path="fused")
    assert [text for text in notices(run) if f"on other weights than those of {other}." in text]
    again = fused(adapter_path=str(project / "others"), save_path="right")
    assert notices(again) == []


def test_each_adapter_lies_on_its_own_base(project: Path, home: Path, elsewhere: Path) -> None:
    together = lora_nb.compare("one", "two", rows=2, max_tokens=2).summary["loss"]
    for name in ("one", "two"):
        alone = lora_nb.compare(name, rows=2, max_tokens=2).summary["loss"]
        assert together[name] == pytest.approx(alone[name], abs=1e-6)
    forced = lora_nb.compare("two", model=str(model_folder(home)), rows=2, max_tokens=2)
    assert forced.summary["loss"]["two"] != pytest.approx(together["two"], abs=1e-3)


def test_a_fusing_names_its_model(project: Path, elsewhere: Path) -> None:
    run = fused(adapter_path="two", save_path="fused", name="made")
    losses = lora_nb.compare("two", run.name, "fused", rows=2, max_tokens=2).summary["loss"]
    assert losses[run.name] == losses["fused"]
    assert losses[run.name] == pytest.approx(losses["two"], abs=1e-4)


def test_a_link_stays_one(project: Path, elsewhere: Path) -> None:
    (elsewhere / "far").mkdir()
    (elsewhere / "there").symlink_to("far")
    (elsewhere / "new").symlink_to("far/new")
    for name in ("there", "new"):
        fused(adapter_path="two", save_path=name)
        assert (elsewhere / name).is_symlink()
        assert (elsewhere / name / "config.json").is_file()
        fused(adapter_path="two", save_path=name, overwrite=True)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["far", "new", "there"]
    assert [path.name for path in (elsewhere / "far").iterdir() if path.name[0] == "."] == []


def test_a_test_on_other_weights_is_told(project: Path, home: Path, elsewhere: Path) -> None:
    options: dict[str, Any] = {"data": str(data_folder(home)), "test_batches": 1}
    told = {
        name: notices(
            ran(OptionsOfTest(**options, model=str(model), adapter_path=str(project / "adapters")))
        )
        for name, model in (("same", model_folder(home)), ("other", model_folder(home, seed=1)))
    }
    assert [text for text in told["other"] if "on other weights than those of" in text]
    assert told["same"] == []
