"""Hostile model folders: nothing of them runs, and each is refused soon and in clear words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import ModelOptions
from lora_nb.core.load import load_base, load_words
from lora_nb.core.trust import code_of
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
from tests.faults.hostile import (
    CANARY,
    CONFIG_CODE,
    HOSTILE,
    MODEL_CODE,
    TOKENIZER_CODE,
    copy_of,
    edited,
)
from tests.tiny import ROOT, options_for

_SECONDS = 15.0


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "canary"
    monkeypatch.setenv(CANARY, str(place))
    return place


# One folder after another in a process of its own, as some are meant to end it.
_LOAD = """
import json, sys, time
from lora_nb.config import ModelOptions
from lora_nb.core.load import load_base, load_words
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
for line in sys.stdin:
    path, trust = json.loads(line)
    from pathlib import Path
    options = ModelOptions(model=path, trust_remote_code=trust)
    messages = []
    for part in ("words", "base"):
        try:
            if part == "words":
                words = load_words(Path(path), options)
                template = resolve_template(words, None)
                template.render(words, [{"role": "user", "content": "hi"}])
            else:
                load_base(Path(path), options)
        except LoraError as problem:
            messages.append(str(problem))
    print(json.dumps(messages), flush=True)
"""


class Loader:
    """Loads folders in another process, started anew when one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, folder: Path, canary: Path, *, trust: bool = False) -> list[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LOAD],
                cwd=ROOT,
                env={**os.environ, CANARY: str(canary)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps([str(folder), trust]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if answer:
            messages: list[str] = json.loads(answer)
            return messages
        last = process.stderr.read().strip().splitlines()[-1]
        process.wait()
        return [last.removeprefix("lora_nb: ")]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    loading = Loader()
    yield loading
    loading.close()


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder(
    name: str, model: Path, tmp_path: Path, loader: Loader, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoil, words = HOSTILE[name]
    # The loader's process keeps the place that it was started with.
    canary = tmp_path_factory.getbasetemp() / "hostile-canary"
    folder = copy_of(model, tmp_path / "home" / "model")
    spoil(folder)
    slow = words == "cut off" or name == "a tokenizer of endless text"
    for trust in (False,) if slow else (False, True):
        started = time.monotonic()
        messages = loader(folder, canary, trust=trust)
        took = time.monotonic() - started
        assert not canary.exists(), f"{name}: code has run"
        assert took < _SECONDS
        assert messages, f"{name} was accepted"
        if not trust:
            assert any(words in message for message in messages), messages
        for message in messages:
            assert "Traceback" not in message
            assert not message.startswith("Unexpected")
            assert message.startswith(("model: ", "The chat template", "the chat template"))
            assert len(message) < 2000


def with_code(model: Path, place: Path) -> Path:
    """A good model whose architecture, config and tokenizer are code of its own."""
    folder = copy_of(model, place)
    edited(
        folder / "config.json",
        model_file="arch.py",
        model_type="own",
        auto_map={"AutoConfig": "configuration_own.EvilConfig"},
    )
    edited(
        folder / "tokenizer_config.json",
        tokenizer_class="Evil",
        auto_map={"AutoTokenizer": [None, "tokenization_own.Evil"]},
    )
    (folder / "arch.py").write_text(MODEL_CODE)
    (folder / "configuration_own.py").write_text(CONFIG_CODE)
    (folder / "tokenization_own.py").write_text(TOKENIZER_CODE)
    return folder


def agreed_to(folder: Path) -> ModelOptions:
    return ModelOptions(
        model=str(folder),
        trust_remote_code=True,
        trust_sha256=[file.consent for file in code_of(folder)],
    )


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers copies code that may run; here, to a folder that goes away."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def test_with_consent_code_runs(model: Path, tmp_path: Path, canary: Path, modules: None) -> None:
    folder = with_code(model, tmp_path / "model")
    with pytest.raises(LoraError, match="brings code of its own") as caught:
        load_base(folder, ModelOptions(model=str(folder)))
    with pytest.raises(LoraError, match="no consent to these files"):
        load_base(folder, ModelOptions(model=str(folder), trust_remote_code=True))
    assert not canary.exists()

    # The message has the words that let it run.
    consent = str(caught.value).split("--trust-sha256 ")[1].split()[0].split(",")
    options = ModelOptions(model=str(folder), trust_remote_code=True, trust_sha256=consent)
    assert load_base(folder, options).parameters > 0
    assert canary.exists()

    canary.unlink()
    words = load_words(folder, options)
    assert canary.exists()
    assert resolve_template(words, None).origin == "model"


def test_consent_holds_for_the_content_it_was_given_to(
    model: Path, tmp_path: Path, canary: Path
) -> None:
    folder = with_code(model, tmp_path / "model")
    options = agreed_to(folder)
    (folder / "arch.py").write_text(MODEL_CODE + "# and more\n")
    for load in (load_base, load_words):
        with pytest.raises(LoraError, match=r"no consent to this file") as caught:
            load(folder, options)
        assert "arch.py" in str(caught.value)
        assert "tokenization_own.py  sha256" not in str(caught.value)
    assert not canary.exists()


def test_consent_alone_is_not_enough(model: Path, tmp_path: Path, canary: Path) -> None:
    folder = with_code(model, tmp_path / "model")
    given = agreed_to(folder).trust_sha256
    with pytest.raises(LoraError, match="It is not run"):
        load_base(folder, ModelOptions(model=str(folder), trust_sha256=given))
    assert not canary.exists()


def test_consent_does_not_lead_out_of_the_folder(model: Path, tmp_path: Path, canary: Path) -> None:
    folder = with_code(model, tmp_path / "in" / "model")
    (tmp_path / "in" / "out.py").write_text(MODEL_CODE)
    edited(folder / "config.json", model_file="../out.py")
    import hashlib

    given = [f"../out.py:{hashlib.sha256(MODEL_CODE.encode()).hexdigest()}"]
    options = ModelOptions(model=str(folder), trust_remote_code=True, trust_sha256=given)
    with pytest.raises(LoraError, match=r"no \.py file inside the model"):
        load_base(folder, options)
    assert not canary.exists()


def test_a_model_that_needs_no_code_of_its_own_loads_without_it(
    model: Path, tmp_path: Path, canary: Path
) -> None:
    """As many on the Hub do: their auto_map is for programs that don't know the family."""
    folder = copy_of(model, tmp_path / "model")
    edited(folder / "config.json", auto_map={"AutoConfig": "configuration_own.EvilConfig"})
    edited(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Evil", None]})
    (folder / "configuration_own.py").write_text(CONFIG_CODE)
    (folder / "own.py").write_text(TOKENIZER_CODE)
    options = ModelOptions(model=str(folder))
    assert load_base(folder, options).parameters > 0
    assert load_words(folder, options).encode("hi")
    assert not canary.exists()


def test_links_of_the_hub_cache_are_followed(model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--me--tiny" / "snapshots" / "0123abc"
    blobs = tmp_path / "models--me--tiny" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    options = ModelOptions(model=str(snapshot))
    assert load_words(snapshot, options).encode("hi")
    assert load_base(snapshot, options).parameters > 0


def worker(verb: str, *words: str, cwd: Path, canary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lora_nb.console", verb, *words],
        cwd=cwd,
        env={**os.environ, CANARY: str(canary), "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("verb", ["train", "test", "generate", "convert", "data"])
def test_every_verb_refuses_code(
    verb: str, model: Path, home: Path, tmp_path: Path, canary: Path
) -> None:
    folder = with_code(model, tmp_path / "model")
    words = ["--model", str(folder)]
    if verb in ("train", "test", "data"):
        words += ["--data", options_for(home)["data"]]
    if verb == "generate":
        words += ["hello"]
    done = worker(verb, *words, cwd=tmp_path, canary=canary)
    assert done.returncode == 1, done.stdout
    assert "brings code of its own" in done.stderr
    assert "Traceback" not in done.stderr
    assert not canary.exists()


def test_nothing_is_imported_from_the_working_folder(
    model: Path, home: Path, tmp_path: Path, canary: Path
) -> None:
    """A model folder one works in may hold a `torch.py` that a library would try to import."""
    folder = copy_of(model, tmp_path / "model")
    for name in ("torch", "numpy", "jinja2", "mlx_lm", "sentencepiece", "tensorflow", "yaml"):
        (folder / f"{name}.py").write_text(
            f"import os, pathlib\npathlib.Path({str(canary)!r}).touch()\n"
        )
    options = ["--model", ".", "--data", options_for(home)["data"], "--test-batches", "1"]
    done = worker("test", *options, cwd=folder, canary=canary)
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


@pytest.mark.parametrize("consent", [False, True])
def test_code_is_copied_into_a_result_only_where_it_may_run(
    consent: bool, model: Path, tmp_path: Path, canary: Path
) -> None:
    folder = copy_of(model, tmp_path / "model")
    words = ["--model", str(folder), "--mlx-path", str(tmp_path / "made"), "--dtype", "float16"]
    if consent:
        edited(folder / "config.json", model_file="arch.py")
    (folder / "arch.py").write_text(MODEL_CODE)
    (folder / "setup.py").write_text("pass\n")
    if consent:
        given = ",".join(agreed_to(folder).trust_sha256 or ())
        words += ["--trust-remote-code", "--trust-sha256", given]
    done = worker("convert", *words, cwd=tmp_path, canary=canary)
    assert done.returncode == 0, done.stderr
    assert canary.exists() is consent
    assert (tmp_path / "made" / "arch.py").is_file() is consent
