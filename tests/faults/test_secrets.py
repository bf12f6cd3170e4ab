"""A token in the environment, in options and in names is kept and shown nowhere."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.commands.table import COMMANDS, call
from lora_nb.config import TrainConfig, as_yaml, load
from lora_nb.errors import LoraError
from lora_nb.redact import MARK
from lora_nb.runs import attach, engine, launch, store
from lora_nb.runs.event_lines import encode
from lora_nb.runs.events import Notice, Record, Sample
from tests.tiny import options_for, write_rows

TOKEN = "hf_" + "Zq7" * 11 + "Z"
PLAIN = "a-password-without-a-shape"
VARIABLES = {"HF_TOKEN": TOKEN, "WANDB_API_KEY": PLAIN}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def files_with(text: str, *folders: Path) -> list[Path]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if text.encode() in path.read_bytes()]


def test_a_run_with_tokens_in_its_environment_keeps_none(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    run = lora_nb.train(**options_for(home, adapter_path=str(tmp_path / "adapters")))
    assert run.status == "completed"
    outputs = repr(run.metrics) + run.summary() + repr(lora_nb.list_runs().to_dict())
    for secret in VARIABLES.values():
        assert files_with(secret, runs_root, tmp_path / "adapters") == []
        assert secret not in outputs


@pytest.mark.parametrize(
    "options",
    [
        {"model": f"https://me:{TOKEN}@huggingface.co/x/y"},
        {"model": f"x/{TOKEN}"},
        {"data": f"https://huggingface.co/datasets/x?token={TOKEN}"},
        {"data": PLAIN},
        {"hf_dataset": {"path": "x/y", "config": {"token": "anything"}}},
        {"hf_dataset": [{"path": "x/y", "config": {"storage_options": {"password": "abc"}}}]},
        {"project_name": TOKEN},
        {"adapter_path": f"adapters-{TOKEN}"},
        {"chat_template": f"{PLAIN}.jinja"},
        {"optimizer_config": {"adam": {"api_key": "abc"}}},
    ],
    ids=str,
)
def test_options_with_secrets_are_refused(options: dict[str, Any], runs_root: Path) -> None:
    with pytest.raises(LoraError, match="holds what looks like a password or token") as caught:
        lora_nb.train(**options)
    for secret in (*VARIABLES.values(), "anything"):
        assert secret not in str(caught.value)
    assert not runs_root.exists()


@pytest.mark.parametrize(
    "text",
    [
        f"hf_token: {TOKEN}\n",
        f"model: demo\ntoken: {PLAIN}\n",
        f"hf_dataset:\n  path: x\n  config:\n    token: {TOKEN}\n",
        f"model: [{TOKEN}]\n",
        f"iters: {TOKEN}\n",
        f"batch_size: {PLAIN}\n",
        f"{TOKEN}: 3\n",
        f"model: '{TOKEN}\n",
        f"model: demo\nmodel: {TOKEN}\n",
    ],
)
def test_messages_about_yaml_hold_no_secrets(text: str, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(text)
    with pytest.raises(LoraError) as caught:
        load(TrainConfig, file=file)
    assert TOKEN not in str(caught.value)
    assert PLAIN not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        f"--model {TOKEN}",
        f"--iters {TOKEN}",
        f"--{TOKEN} 3",
        f"{TOKEN}",
        f"--data {PLAIN}",
        f"-c {TOKEN}.yaml",
        f"--train-on {TOKEN}",
    ],
)
def test_messages_about_flags_hold_no_secrets(words: str) -> None:
    with pytest.raises(LoraError) as caught:
        call(COMMANDS["train"], words.split())
    assert TOKEN not in str(caught.value)
    assert PLAIN not in str(caught.value)


def test_a_config_that_was_made_otherwise_is_written_without_secrets(
    home: Path, runs_root: Path
) -> None:
    config = TrainConfig(
        model=f"/nowhere/{TOKEN}",
        data=f"/nowhere/{PLAIN}",
        hf_dataset={"path": "x", "config": {"token": "some-thing"}},
    )
    written = as_yaml(config)
    assert MARK in written
    run = launch.start(config)
    assert attach.wait(run, 60)
    assert run.status == "failed"
    for secret in (*VARIABLES.values(), "some-thing"):
        assert secret not in written
        assert files_with(secret, runs_root) == []
        assert all(secret not in path.name for path in runs_root.rglob("*"))


def test_what_a_worker_prints_is_kept_without_secrets(
    home: Path, tmp_path: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a package that prints its settings, and one that fails with them."""
    talker = tmp_path / "site"
    talker.mkdir()
    (talker / "wandb.py").write_text(
        "import os, sys\n"
        "print('my token is', os.environ['HF_TOKEN'])\n"
        "print('key', os.environ['WANDB_API_KEY'], file=sys.stderr)\n"
        "raise RuntimeError('refused ' + os.environ['HF_TOKEN'])\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{talker}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(LoraError) as caught:
        lora_nb.train(**options_for(home, adapter_path=str(tmp_path / "a")), report_to="wandb")
    log = store.find().log_path.read_text()
    assert f"my token is {MARK}" in log
    for secret in VARIABLES.values():
        assert secret not in str(caught.value)
        assert files_with(secret, runs_root) == []


def test_the_engine_tells_no_secrets(model: Path) -> None:
    with pytest.raises(LoraError) as caught:
        lora_nb.generate("hi", model=str(model), extra_eos_token=["x"], adapter_path="/no/such")
    assert TOKEN not in str(caught.value)
    engine.release()


def test_rows_and_answers_stay_as_they_are(
    home: Path, tmp_path: Path, model: Path, runs_root: Path
) -> None:
    """They are the user's data, and are trained as they are."""
    row = {"prompt": f"my token is {TOKEN}", "completion": "password: abc"}
    write_rows(tmp_path / "train.jsonl", [row])
    report = lora_nb.data_report(tmp_path)
    assert report.head(1)["prompt"].tolist() == [row["prompt"]]
    told = json.loads(encode(Record(1, 0.0, Sample(step=1, prompt=TOKEN, text=TOKEN))))
    assert told["text"] == TOKEN
    told = json.loads(encode(Record(1, 0.0, Notice(level="info", message=TOKEN))))
    assert told["message"] == MARK
    with contextlib.suppress(LoraError):
        lora_nb.train(**options_for(home, data=str(tmp_path), adapter_path=str(tmp_path / "a")))
    assert files_with(TOKEN, runs_root) == []
