"""What is uploaded comes back from the Hub as it was here, and tells where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import yaml

from lora_nb.config import ConvertConfig, FuseConfig, UploadConfig, load
from lora_nb.core.durable import sha256_of
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.export_events import Uploaded, UploadListed
from lora_nb.runs.folder import RunFolder
from tests.conformance.export.kit import on, random_adapter
from tests.conformance.families.kit import loaded
from tests.hub_uploads import WRITER, UploadHub, upload_hub
from tests.tiny import python

PROMPT = [5, 9, 33, 120, 44, 7, 201, 8]
FETCH = (
    "import sys; from huggingface_hub import snapshot_download;"
    "print(snapshot_download(sys.argv[1], local_dir=sys.argv[2]))"
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with upload_hub() as found:
        for name, value in found.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    return random_adapter(tmp_path / "adapter", model)


def ran(kind: Any, **options: Any) -> RunFolder:
    run = launch.start(load(kind, flags={key: _plain(value) for key, value in options.items()}))
    assert attach.wait(run, 120), run.log_tail()
    assert run.status == "completed", run.log_tail()
    return run


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def fetched(hub: UploadHub, repo: str, target: Path) -> Path:
    """The repository as huggingface_hub downloads it, in a process of its own."""
    done = python(FETCH, repo, str(target), **hub.environment(target.parent / "reader"))
    assert done.returncode == 0, done.stderr
    return target


def logits(net: Any) -> Any:
    found = net(mx.array([PROMPT])).astype(mx.float32)
    return np.array(found)


def card_of(hub: UploadHub, repo: str) -> Any:
    return yaml.safe_load(hub.repositories[repo].files["README.md"].decode().split("---\n")[1])


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: sha256_of(p) for p in sorted(folder.iterdir()) if p.is_file()}


def test_a_fused_model(hub: UploadHub, model: Path, adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "fused"
    run = ran(
        FuseConfig,
        model=model,
        adapter_path=adapter,
        save_path=target,
        hf_path="owner/base",
        upload_repo="tiny",
        check_rows=2,
    )
    repository = hub.repositories["me/tiny"]
    assert repository.private
    assert len(repository.commits) == 1
    card = card_of(hub, "me/tiny")
    assert card["base_model"] == "owner/base"
    assert card["base_model_relation"] == "finetune"
    text = repository.files["README.md"].decode()
    assert "## Check" in text
    assert str(tmp_path) not in text

    copy = fetched(hub, "me/tiny", tmp_path / "copy")
    assert hashes(target).items() <= hashes(copy).items()
    assert sorted(hashes(copy)) == sorted([*hashes(target), ".gitattributes"])
    assert (logits(loaded(copy).model) == logits(loaded(target).model)).all()
    assert np.abs(logits(loaded(copy).model) - logits(on(model, adapter))).max() < 1e-3

    events = [record.event for record in run.records()]
    listed = next(e for e in events if isinstance(e, UploadListed))
    assert listed.files == {p.name: p.stat().st_size for p in sorted(target.iterdir())}
    told = [e for e in events if isinstance(e, Progress) and e.stage == "uploading"]
    size = sum(listed.files.values())
    assert (told[0].done, told[-1].done, told[-1].total) == (0, size, size)
    done = next(e for e in events if isinstance(e, Uploaded))
    assert (done.repo, done.private, done.size) == ("me/tiny", True, size)
    assert done.url == f"{hub.address}/me/tiny"
    assert done.commit == repository.sha
    assert isinstance(events[-1], Ended)
    assert f"are in {hub.address}/me/tiny (private)" in events[-1].message


def test_an_adapter_alone(hub: UploadHub, model: Path, adapter: Path, tmp_path: Path) -> None:
    for name in ("0000100_adapters.safetensors", "optimizer.safetensors", "train.jsonl", ".env"):
        (adapter / name).write_bytes(b"x")
    # As mlx-lm writes it, with every option of the training.
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "model": str(model), "data": "/data/of/mine"}))
    before = hashes(adapter)
    run = ran(UploadConfig, path=adapter, upload_repo="us/lora", public=True)
    assert hashes(adapter) == before
    repository = hub.repositories["us/lora"]
    assert not repository.private
    assert sorted(repository.files) == [
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "adapters.safetensors",
    ]
    listed = next(r.event for r in run.records() if isinstance(r.event, UploadListed))
    strays = [".env", "0000100_adapters.safetensors", "optimizer.safetensors", "train.jsonl"]
    assert listed.left_out == strays
    told = json.loads(repository.files["adapter_config.json"])
    assert told["model"] == model.name
    assert "data" not in told
    for content in repository.files.values():
        assert str(tmp_path).encode() not in content
        assert b"/data/of/mine" not in content
    assert "base_model" not in card_of(hub, "us/lora")

    copy = fetched(hub, "us/lora", tmp_path / "copy")
    assert (logits(on(model, copy)) == logits(on(model, adapter))).all()


def test_an_adapter_names_its_base(hub: UploadHub, adapter: Path) -> None:
    ran(UploadConfig, path=adapter, upload_repo="lora", hf_path="owner/base")
    assert hub.repositories["me/lora"].private
    card = card_of(hub, "me/lora")
    assert (card["base_model"], card["base_model_relation"]) == ("owner/base", "adapter")
    told = json.loads(hub.repositories["me/lora"].files["adapter_config.json"])
    assert told["model"] == "owner/base"


def test_a_converted_model(hub: UploadHub, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "packed"
    ran(ConvertConfig, model=model, mlx_path=target, quantize=True, upload_repo="packed")
    card = hub.repositories["me/packed"].files["README.md"].decode()
    assert "bits per weight, made with lora_nb on MLX" in card
    # The card is made for the upload alone: the folder stays as convert wrote it.
    assert not (target / "README.md").exists()
    copy = fetched(hub, "me/packed", tmp_path / "copy")
    assert (logits(loaded(copy).model) == logits(loaded(target).model)).all()


def test_a_model_with_a_card_of_its_own(hub: UploadHub, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = "---\nlicense: mit\nbase_model: other/one\n---\n# Mine\n\nWörter.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")
    ran(UploadConfig, path=folder, upload_repo="own", hf_path="owner/base")
    card = hub.repositories["me/own"].files["README.md"].decode()
    assert card_of(hub, "me/own") == {"license": "mit", "base_model": "owner/base"}
    assert card.endswith("---\n# Mine\n\nWörter.\n")
    assert (folder / "README.md").read_text(encoding="utf-8") == text


def test_the_token_goes_to_the_hub_alone(hub: UploadHub, model: Path, runs_root: Path) -> None:
    ran(UploadConfig, path=model, upload_repo="tiny")
    assert set(hub.tokens) == {WRITER}
    files = [path for path in runs_root.rglob("*") if path.is_file()]
    assert len(files) > 3
    everything = [*(path.read_bytes() for path in files), *hub.bodies, *hub.store.values()]
    assert all(WRITER.encode() not in content for content in everything)
