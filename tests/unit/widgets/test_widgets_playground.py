"""The playground: answers as they come, sides with memories of their own, and what can go wrong."""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lora_nb import api
from lora_nb.commands.command import Call
from lora_nb.config import GenerateConfig, flags_of, load, parse_flags
from lora_nb.errors import LoraError
from lora_nb.runs import engine
from lora_nb.runs.engine import Piece
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets.playground import Playground
from lora_nb_widgets.playground_chat import Answer, Chat, Turn
from tests.html_check import read
from tests.tiny import ROOT, python, until
from tests.unit.display.test_display_xss import XSS

Asked = list[tuple[GenerateConfig, Sequence[str]]]
STATS = {
    "finish_reason": "length",
    "prompt_tokens": 9,
    "prompt_tps": 90.0,
    "generation_tokens": 3,
    "generation_tps": 30.0,
    "peak_memory": 0.5,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What an engine is asked that says its label and the number of the question."""
    seen: Asked = []

    def generate(config: GenerateConfig, labels: Sequence[str]) -> Iterator[Piece]:
        seen.append((config, labels))
        for label in labels:
            yield Piece(label, f"{label} ")
            yield Piece(label, f"says {len(seen)}")
            yield Piece(label, stats=STATS)

    monkeypatch.setattr(engine, "generate", generate)
    return seen


def said(panel: Playground, prompt: str) -> Turn:
    """The turn after a prompt was sent by its button."""
    panel.prompt.value = prompt
    panel.send_button.click()
    panel.settle()
    return panel.chat.turns[-1]


def test_both_answer_side_by_side_each_with_its_own_memory(asked: Asked, finished: Path) -> None:
    panel = Playground(adapter_path=str(finished))
    assert panel.prompt.value == ""
    first = said(panel, "how old is Bob?")
    assert {label: answer.text for label, answer in first.answers.items()} == {
        "base": "base says 1",
        "adapter": "adapter says 2",
    }
    assert panel.prompt.value == ""
    said(panel, "and Ann?")

    base, adapter = (config for config, _ in asked[2:])
    assert [labels for _, labels in asked] == [("base",), ("adapter",)] * 2
    assert base.prompt == adapter.prompt == "and Ann?"
    assert base.history == [
        {"role": "user", "content": "how old is Bob?"},
        {"role": "assistant", "content": "base says 1"},
    ]
    assert adapter.history is not None
    assert adapter.history[1]["content"] == "adapter says 2"
    assert base.adapter_path is None
    assert adapter.adapter_path == str(RunFolder(finished).checkpoints[-1].path)
    # The adapter names its base.
    assert base.model == adapter.model == RunFolder(finished).config_items()["model"]
    text = read(panel._said.value).text
    assert "9 prompt tokens (90/s) · 3 tokens (30/s) · 0.50 GB · cut off at max_tokens" in text
    assert "base model" in text
    assert f"{finished.name}, step 6" in text


def test_without_memory_each_prompt_stands_alone(asked: Asked, finished: Path) -> None:
    panel = Playground(adapter_path=str(finished))
    panel.side.value = "adapter"
    said(panel, "one")
    panel.remember.value = False
    said(panel, "two")
    assert [config.history for config, _ in asked] == [None, None]
    panel.remember.value = True
    panel.clear_button.click()
    assert panel.chat.turns == []
    assert panel._said.value == ""
    said(panel, "three")
    assert asked[-1][0].history is None


def test_options_go_along_and_wrong_ones_are_told(asked: Asked, finished: Path) -> None:
    panel = Playground("some/model", str(finished))
    for key, text in {
        "temp": "0.7",
        "top_p": "0.9",
        "max_tokens": "5",
        "seed": "3",
        "system_prompt": "be kind",
        "min_p": "0.1",
    }.items():
        panel.fields[key].input.value = text
    said(panel, "hi")
    config = asked[-1][0]
    assert (config.model, config.temp, config.top_p, config.max_tokens, config.seed) == (
        *("some/model", 0.7, 0.9, 5, 3),
    )
    assert (config.system_prompt, config.min_p) == ("be kind", 0.1)

    panel.fields["temp"].input.value = "hot<b>"
    panel.prompt.value = "hi"
    panel.send_button.click()
    assert "--temp: &#x27;hot&lt;b&gt;&#x27; is not a number." in panel._errors.value
    panel.fields["temp"].input.value = ""
    panel.prompt.value = " \n"
    panel.send_button.click()
    assert "The prompt is empty." in panel._errors.value
    assert len(asked) == 2
    assert len(panel.chat.turns) == 1


def test_any_checkpoint_of_a_run_can_answer(
    asked: Asked, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(finished.parent))
    panel = Playground()
    labels = [label for label, _ in panel.source.checkpoint.options]
    assert [label.split(" · ")[0] for label in labels] == ["step 3", "step 6"]
    assert " · valid " in labels[1]
    panel.settle()
    before = bytes(panel.source.curve.value)
    assert before.startswith(b"\x89PNG")
    assert "Loss over steps" in panel.source.words.value

    # Slider and list are one choice.
    assert panel.source.point.label == labels[1]
    panel.source.checkpoint.index = 0
    assert panel.source.point.label == labels[0]
    panel.source.point.index = 1
    assert panel.source.checkpoint.value.step == 6
    panel.source.point.index = 0
    panel.settle()
    assert bytes(panel.source.curve.value) != before
    panel.side.value = "adapter"
    turn = said(panel, "hi")
    assert asked[-1][0].adapter_path == str(RunFolder(finished).checkpoints[0].path)
    assert turn.answers["adapter"].source == f"{finished.name}, step 3"
    recipe = panel.recipe()
    assert recipe is not None
    assert f"--adapter-path {finished.name}@3" in recipe.magic

    # The base alone, then a folder.
    panel.source.adapter.value = ""
    assert panel.side.layout.display == "none"
    assert list(said(panel, "hi").answers) == ["base"]
    panel.source.adapter.value = "folder"
    panel.source.folder.value = "nowhere"
    panel.prompt.value = "hi"
    panel.send_button.click()
    assert "adapter_path: nowhere does not exist." in panel._errors.value
    panel.source.folder.value = str(finished.parent.parent / "adapters")
    panel.send_button.click()
    panel.settle()
    assert asked[-1][0].adapter_path == str(finished.parent.parent / "adapters")


def test_a_step_may_be_named_and_an_adapter_must_be_there(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(finished.parent))
    panel = Playground(adapter_path=f"{finished.name}@3")
    assert panel.source.checkpoint.value.step == 3
    with pytest.raises(LoraError, match="has no checkpoint of step 4"):
        Playground(adapter_path=f"{finished.name}@4")
    with pytest.raises(LoraError, match=r"holds no adapters\.safetensors"):
        Playground(adapter_path=tmp_path)


def test_stop_ends_the_answer_and_keeps_what_was_said(
    monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    go_on, closed = threading.Event(), threading.Event()

    def generate(config: GenerateConfig, labels: Sequence[str]) -> Iterator[Piece]:
        try:
            while True:
                yield Piece(labels[0], "more ")
                go_on.wait(10)
        finally:
            closed.set()

    monkeypatch.setattr(engine, "generate", generate)
    panel = Playground(adapter_path=str(finished))
    panel.prompt.value = "go"
    panel.send_button.click()
    until(lambda: "more" in panel._saying.value, "a piece")
    assert not panel.stop_button.disabled
    assert panel.send_button.disabled
    panel.send_button.click()
    assert "An answer is under way." in panel._errors.value
    panel.clear_button.click()
    assert "An answer is under way." in panel._errors.value
    panel.stop_button.click()
    go_on.set()
    panel.settle()

    assert closed.is_set()
    assert not panel.is_busy
    assert panel.stop_button.disabled
    turn = panel.chat.turns[-1]
    assert turn.answers["base"].text.startswith("more more")
    assert turn.answers["adapter"].text == ""
    assert read(panel._said.value).text.count("stopped") == 2
    assert not [t for t in threading.enumerate() if t.name == "lora_nb Playground"]


def test_an_error_leaves_the_prompt_for_another_try(
    monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    def generate(config: GenerateConfig, labels: Sequence[str]) -> Iterator[Piece]:
        yield Piece(labels[0], "half")
        raise LoraError("The generation engine ended with status -9 <killed>.")

    monkeypatch.setattr(engine, "generate", generate)
    panel = Playground(adapter_path=str(finished))
    panel.prompt.value = "go"
    panel.send_button.click()
    panel.settle()
    assert "status -9 &lt;killed&gt;" in panel._errors.value
    assert panel.chat.turns == []
    assert panel._saying.value == ""
    assert panel.prompt.value == "go"
    assert not panel.is_busy


@pytest.mark.parametrize("text", XSS)
def test_hostile_texts_stay_texts(text: str) -> None:
    def page_of(text: str) -> Any:
        answers = {label: Answer(text, text, STATS, is_over=True) for label in ("base", "adapter")}
        return read(Chat([Turn(text, answers)]).html())

    page = page_of(text)
    assert page.faults == []
    assert page.tags == page_of("harmless").tags


def options_in(magic: str) -> dict[str, Any]:
    """The options that a cell with a magic gives to its command."""
    line, _, body = magic.partition("\n")
    words = shlex.split(line.removeprefix("%%lora_generate"))
    parsed = parse_flags([w for w in words if w != "--compare"], flags_of(GenerateConfig))
    config = Call(parsed).config(GenerateConfig, prompt=body)
    return {"config": config, "compare": "--compare" in words}


def test_the_recipe_is_what_was_sent(asked: Asked, finished: Path) -> None:
    panel = Playground("demo", str(finished))
    assert panel.recipe() is None
    panel.fields["temp"].input.value = "0.5"
    panel.prompt.value = "two\n  lines {x} $y"
    recipe = panel.recipe()
    assert recipe is not None
    found = options_in(recipe.magic)
    panel.send_button.click()
    panel.settle()
    assert found["compare"]
    sent = asked[-1][0]
    assert found["config"].prompt == sent.prompt
    assert (found["config"].model, found["config"].temp) == ("demo", 0.5)
    assert shlex.split(recipe.console)[-2:] == ["--", "two\n  lines {x} $y"]
    # Nothing is in the field, so it is the last one that is shown.
    assert panel.recipe() == recipe


def test_a_conversation_is_a_call_in_python(
    asked: Asked, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    panel = Playground("demo", str(finished))
    said(panel, "one")
    panel.fields["system_prompt"].input.value = "say {this} for $5"
    panel.prompt.value = "two"
    assert panel.recipe() is not None
    assert "--compare" not in panel.recipe().console  # type: ignore[union-attr]
    panel.remember.value = False
    assert "-c /dev/stdin --compare -- two <<'YAML'" in panel.recipe().console  # type: ignore[union-attr]
    panel.remember.value = True
    said(panel, "two")
    recipe = panel.recipe()
    assert recipe is not None
    calls: list[GenerateConfig] = []
    monkeypatch.setattr(api, "generated", lambda config, compare: calls.append(config))
    exec(recipe.magic, {})
    sent = [config for config, _ in asked[-2:]]
    assert [(c.prompt, c.history, c.system_prompt) for c in calls] == [
        (c.prompt, c.history, c.system_prompt) for c in sent
    ]
    file = tmp_path / "options.yaml"
    file.write_text(recipe.yaml)
    assert load(GenerateConfig, file=file, flags={"prompt": "two"}).history == sent[-1].history


def test_the_record_holds_what_was_said_and_no_times(asked: Asked, finished: Path) -> None:
    panel = Playground("demo", str(finished))
    said(panel, "<b>hi</b>")
    page = read(panel.record())
    assert page.faults == []
    assert "<b>hi</b>" in page.text
    assert "adapter says 2" in page.text
    assert "tokens" not in page.text


@pytest.mark.usefixtures("engines")
def test_the_real_engine_answers_and_is_let_go(finished: Path) -> None:
    panel = Playground(adapter_path=str(finished))
    panel.fields["max_tokens"].input.value = "6"
    turn = said(panel, "how old is Bob?")
    assert turn.answers["base"].stats["generation_tokens"] >= 1
    assert turn.answers["adapter"].is_over
    prompt = turn.answers["adapter"].stats["prompt_tokens"]
    # What was said before is in the prompt.
    again = said(panel, "how old is Bob?")
    assert again.answers["adapter"].stats["prompt_tokens"] > 2 * prompt

    panel.fields["max_tokens"].input.value = "1000000"
    panel.prompt.value = "go on"
    panel.send_button.click()
    until(lambda: "go on" in panel._saying.value, "the answer to begin")
    panel.release_button.click()
    panel.settle()
    assert not engine.is_running()
    assert "The model is out of memory." in panel._told.value
    assert len(panel.chat.turns) == 3
    panel.release_button.click()
    panel.settle()
    assert "No model was in memory." in panel._told.value


def test_closing_stops_the_answer(monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    def generate(config: GenerateConfig, labels: Sequence[str]) -> Iterator[Piece]:
        while True:
            threading.Event().wait(0.01)
            yield Piece(labels[0], json.dumps(labels))

    monkeypatch.setattr(engine, "generate", generate)
    panel = Playground(adapter_path=str(finished))
    panel.prompt.value = "go"
    panel.send_button.click()
    until(lambda: "base" in panel._saying.value, "a piece")
    panel.close()
    panel.settle(5)
    assert not panel.is_busy


def test_a_kernel_that_ends_amid_an_answer_does_not_wait_for_it(finished: Path) -> None:
    code = """
import sys, time
from lora_nb_widgets.playground import Playground
panel = Playground(adapter_path=sys.argv[1])
panel.fields["max_tokens"].input.value = "1000000000"
panel.side.value, panel.prompt.value = "adapter", "go on"
panel.send_button.click()
while "…</pre>" in panel._saying.value:
    time.sleep(0.01)
print("answering", flush=True)
"""
    path = f"{ROOT}{os.pathsep}{ROOT / 'widgets'}"
    ended = python(code, str(finished), PYTHONPATH=path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "answering\n"
    assert "Traceback" not in ended.stderr
