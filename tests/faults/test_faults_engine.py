"""The engine that generates: killed, cancelled, left alone, orphaned."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lora_nb.config import GenerateConfig
from lora_nb.errors import LoraError
from lora_nb.runs import engine
from lora_nb.runs.folder import RunFolder
from tests.tiny import ROOT, python, until

pytestmark = pytest.mark.usefixtures("engines")


def config_of(model: Path, **options: object) -> GenerateConfig:
    usual = {"model": str(model), "prompt": "how old is Bob?", "max_tokens": 4}
    return GenerateConfig(**(usual | options))  # type: ignore[arg-type]


def pid_now() -> int:
    assert engine._engine is not None
    return engine._engine._process.pid


def answer(config: GenerateConfig, *labels: str) -> str:
    return "".join(piece.text for piece in engine.generate(config, labels or ("base",)))


def test_killed_amid_an_answer_it_says_so_and_the_next_call_works(model: Path) -> None:
    wanted = answer(config_of(model))
    first = pid_now()
    pieces = engine.generate(config_of(model, max_tokens=10**6))
    next(pieces)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(LoraError) as caught:
        list(pieces)
    assert str(caught.value).startswith(
        "The generation engine ended with status -9 (killed: out of memory?)."
    )
    assert not engine.is_running()
    assert answer(config_of(model)) == wanted
    assert pid_now() != first


def test_an_answer_that_is_taken_back_leaves_the_engine_usable(model: Path) -> None:
    wanted = answer(config_of(model))
    first = pid_now()
    for _ in range(2):
        pieces = engine.generate(config_of(model, max_tokens=10**6))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        assert answer(config_of(model)) == wanted
    assert pid_now() == first


def test_wrong_requests_are_errors_of_the_request_alone(model: Path, tmp_path: Path) -> None:
    wanted = answer(config_of(model))
    first = pid_now()
    for wrong, words in (
        (config_of(tmp_path), r"has no config\.json"),
        (config_of(model, prompt=" "), r"^The prompt is empty\."),
        (config_of(model, extra_eos_token=["<|xyz|>"]), r"'<\|xyz\|>' is no token of this model"),
        (config_of(model, adapter_path=str(tmp_path)), r"holds no adapters\.safetensors"),
        (config_of(model, chat_template="gone.jinja"), r"gone\.jinja"),
    ):
        with pytest.raises(LoraError, match=words):
            answer(wrong, "adapter")
    assert answer(config_of(model)) == wanted
    assert pid_now() == first


def test_paths_are_those_of_the_folder_one_is_in(
    model: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    wanted = answer(config_of(model))
    adapter = RunFolder(finished).adapter_path
    assert adapter is not None
    shutil.copytree(adapter, tmp_path / "elsewhere" / "mine")
    absolute = answer(config_of(model, adapter_path=str(adapter), max_tokens=12), "adapter")

    monkeypatch.chdir(tmp_path / "elsewhere")
    assert answer(config_of(model, adapter_path="mine", max_tokens=12), "adapter") == absolute
    # Asked for the base model, it takes the adapter off again.
    assert answer(config_of(model, adapter_path="mine"), "base") == wanted


def test_left_alone_it_ends(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_NB_ENGINE_IDLE", "0.3")
    wanted = answer(config_of(model))
    first = pid_now()
    until(lambda: not engine.is_running(), "an idle engine to end", 20)
    assert engine.release() is False
    assert answer(config_of(model)) == wanted
    assert pid_now() != first


def test_letting_go_ends_it(model: Path) -> None:
    assert engine.release() is False
    answer(config_of(model))
    first = pid_now()
    assert engine.is_running()
    assert engine.release() is True
    assert not psutil.pid_exists(first)
    assert engine.release() is False


_PARENT = """
import os, signal, sys
from lora_nb.config import GenerateConfig
from lora_nb.runs import engine
config = GenerateConfig(model=sys.argv[1], prompt="hi", max_tokens=int(sys.argv[2]))
next(engine.generate(config))
print(engine._engine._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_does_not_outlive_a_parent_that_is_killed(model: Path) -> None:
    parent = python(_PARENT, str(model), "1000000")
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    orphan = int(parent.stdout)
    until(lambda: not psutil.pid_exists(orphan), "an orphaned engine to end", 20)
    assert orphan > 0


@pytest.mark.timeout(20)
def test_an_answer_without_any_text_ends_when_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lora_nb.core.generate import Answer
    from lora_nb.worker import engine as worker

    def silent(*_: object) -> Iterator[Answer]:
        while True:
            yield Answer("")

    monkeypatch.setattr(worker, "generate", silent)
    monkeypatch.setattr(worker, "resolve_template", lambda *_: None)
    memory = SimpleNamespace(
        ready=lambda *_, **__: (SimpleNamespace(model=None), SimpleNamespace(eos_token_ids=set()))
    )
    desk = worker._Desk(io.StringIO(""), io.StringIO())
    desk.listen()
    worker._generate(desk, memory, 1, GenerateConfig(prompt="hi"), "base")  # type: ignore[arg-type]
    assert "interrupted" in desk.output.getvalue()  # type: ignore[attr-defined]
