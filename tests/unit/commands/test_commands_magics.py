"""The magics in a shell: lines and cells become configs, and errors are one message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lora_nb.commands.table import COMMANDS
from lora_nb.errors import LoraError
from lora_nb.runs.events import CheckpointSaved
from lora_nb.runs.folder import RunFolder
from tests.unit.commands.conftest import Shell
from tests.unit.runs.kit import ended, loss, made
from tests.unit.runs.kit import started as started_event

Configs = list[tuple[Any, bool]]


def test_a_line_is_a_config_and_its_result_a_run(shell: Shell, started: Configs) -> None:
    shell.run("run = %lora_train --model m --data 'my rows' --iters 5 --rank 4")
    ((config, background),) = started
    assert (config.model, config.data, config.iters) == ("m", "my rows", 5)
    assert config.lora_parameters.rank == 4
    assert not background
    assert shell.value("run") == "a run"


def test_variables_are_filled_in(shell: Shell, started: Configs) -> None:
    shell.run("size, names = 3, {'a': 'm'}")
    shell.run("%lora_train --iters {size * 2} --model {names['a']} --seed $size")
    config, _ = started[0]
    assert (config.iters, config.model, config.seed) == (6, "m", 3)


def test_a_variable_that_is_not_there_is_refused(shell: Shell, started: Configs) -> None:
    problem = shell.error("%lora_train --iters {undefined_size} --model m")
    assert str(problem) == "{undefined_size} is not filled in: there is no such variable."
    assert started == []


def test_a_cell_is_yaml_below_the_flags(shell: Shell, started: Configs, tmp_path: Path) -> None:
    file = tmp_path / "lora.yaml"
    file.write_text("iters: 1\nbatch_size: 1\nseed: 1\n")
    shell.run(
        f"%%lora_train -c {file} --background --seed 3\n"
        "iters: 2  # a remark\nseed: 2\nlearning_rate: 1e-4\n"
    )
    config, background = started[0]
    assert (config.batch_size, config.iters, config.seed) == (1, 2, 3)
    assert config.learning_rate == 1e-4
    assert background


def test_errors_are_one_message_and_the_cell_fails(
    shell: Shell, started: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = shell.error("%%lora_train --iters none\nlearning_rte: 1\n")
    shown = "".join(capsys.readouterr())

    assert isinstance(problem, LoraError)
    assert problem._render_traceback_() == [f"LoraError: {problem}"]
    assert "Traceback" not in shown
    assert shown.strip() == (
        "LoraError: 2 problems:\n"
        "  - --iters: 'none' is not a whole number.\n"
        "  - cell, line 1: learning_rte: not an option. Did you mean 'learning_rate'?"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%lora_train fast", "'fast' is no flag. Options are written --like-this VALUE."),
        ("%lora_train --model 'm", "A quote is not closed in: --model 'm"),
        ("%lora_test --iters 3", "--iters is not a flag here."),
        ("%lora_stop a b", "One run at a time, please: got a, b."),
        ("%lora_attach --all", "--all is not a flag here."),
        ("%lora_doctor me", "'me' is no flag."),
        ("%lora_generate", "The prompt is empty."),
        ("%lora_train -c gone.yaml", "gone.yaml: no such file."),
    ],
)
def test_wrong_lines(line: str, words: str, shell: Shell) -> None:
    problem = shell.error(line)
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(words)


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("how old is Bob?", "how old is Bob?"),
        ("What's Bob's age", "What's Bob's age"),
        ('say "hello" twice', 'say "hello" twice'),
        ("'quoted as a whole'", "quoted as a whole"),
        ('"a" and "b"', '"a" and "b"'),
        ('{"name": "x", "n": [1]}', '{"name": "x", "n": [1]}'),
        ("--max-tokens 7 how  old   is", "how  old   is"),
        ("--max-tokens=7 two -- words", "two -- words"),
        ("--max-tokens 7 -- --not a flag", "--not a flag"),
        ("--system-prompt 'be kind' hi", "hi"),
        ("a \\n b", "a \\n b"),
        ("-m 7 -p it", "it"),
        ("why not --max-tokens 3?", "why not --max-tokens 3?"),
    ],
)
def test_a_prompt_is_taken_as_it_is_written(
    line: str, prompt: str, shell: Shell, asked: Configs
) -> None:
    assert shell.run(f"%lora_generate {line}").success
    config, compare = asked[0]
    assert config.prompt == prompt
    assert config.max_tokens == (7 if line.startswith(("--max", "-m")) else 100)
    assert not compare


def test_a_question_may_stand_in_an_assignment_and_help_is_still_help(
    shell: Shell, asked: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.value("text = %lora_generate really?\nstr(text)") == "an answer"
    assert asked[0][0].prompt == "really?"
    shell.run("%lora_generate?")
    assert "--max-tokens, -m" in capsys.readouterr().out
    assert len(asked) == 1


def test_a_cell_is_a_prompt_without_its_last_newline(shell: Shell, asked: Configs) -> None:
    shell.run("%%lora_generate --temp 0.5\nfirst line?\n\n  second: {x}\n")
    config, _ = asked[0]
    assert config.prompt == "first line?\n\n  second: {x}"
    assert config.temp == 0.5
    problem = shell.error("%%lora_generate words\nmore\n")
    assert str(problem).startswith("The prompt stands both on the line and in the cell.")


def test_comparing_takes_the_adapters_folder_unless_one_is_named(
    shell: Shell, asked: Configs
) -> None:
    shell.run("%lora_generate --compare hi")
    shell.run("%lora_generate --compare --adapter-path mine hi")
    assert [(c.adapter_path, compare) for c, compare in asked] == [
        ("adapters", True),
        ("mine", True),
    ]


def test_releasing_without_an_engine(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.value("%lora_generate --release") is None
    assert capsys.readouterr().out == "No model was in memory.\n"


def test_runs_are_a_frame_that_words_narrow(shell: Shell, runs_root: Path) -> None:
    made(runs_root, started_event(), loss(1, 2.5), ended("completed"), name="singers")
    made(runs_root, name="songs")
    frame = shell.value("%lora_runs")

    assert isinstance(frame, pd.DataFrame)
    assert sorted(frame["status"]) == ["completed", "crashed"]
    one = shell.value("%lora_runs singers")
    assert one["run"].str.endswith("-singers").tolist() == [True]
    assert one["train_loss"].tolist() == [2.5]


def test_one_damaged_run_does_not_hide_the_others(shell: Shell, runs_root: Path) -> None:
    made(runs_root, started_event(), ended("completed"), name="good")
    for name, file in (("about", "run.json"), ("config", "config.yaml")):
        (made(runs_root, started_event(), name=name).path / file).write_text("{")
    (made(runs_root, started_event(), name="log").events_path).write_bytes(b"\0\n\xff\n")
    frame = shell.value("%lora_runs").set_index("run")["status"]
    statuses = {str(name).rsplit("-", 1)[-1]: status for name, status in frame.items()}
    assert statuses == {
        "good": "completed", "about": "damaged", "config": "damaged", "log": "crashed",
    }  # fmt: skip


def test_attaching_to_a_run_that_is_over_shows_it(
    shell: Shell, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(runs_root, started_event(), loss(1, 2.5), ended("stopped"), name="old")
    found = shell.value("run = %lora_attach old\nrun")
    assert found.name == run.name
    assert repr(found) == f"<lora_nb run {run.name}: stopped>"
    assert found.metrics["train_loss"].tolist() == [2.5]
    assert isinstance(shell.error("%lora_attach none"), LoraError)


def test_stopping_a_run_that_is_over_says_so(shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started_event(), ended("completed"))
    problem = shell.error("%lora_stop")
    assert str(problem) == f"{run.name} is completed: there is no worker to stop."


def test_the_doctor_reports(shell: Shell) -> None:
    report = shell.value("%lora_doctor")
    assert "mlx" in str(report).lower()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_magic_shows_every_flag(
    name: str, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run(f"%lora_{name}?")
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    for flag in COMMANDS[name].flags:
        for each in flag.names:
            assert each in shown
    assert COMMANDS[name].purpose in shown


def test_completion_of_flags_choices_and_runs(shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started_event(), CheckpointSaved(step=1, path="x", best=False))
    assert shell.completions("%lora_train --lora") == ["--lora-layers"]
    assert shell.completions("run = %lora_train --mask") == ["--mask-prompt"]
    assert shell.completions("%%lora_train --model m --no-mask") == ["--no-mask-prompt"]
    assert shell.completions("%lora_train --fine-tune-type ") == ["dora", "full", "lora"]
    assert shell.completions("%lora_train --optimizer=ada") == [
        "--optimizer=adafactor", "--optimizer=adam", "--optimizer=adamw",
    ]  # fmt: skip
    assert "--iters" not in shell.completions("%lora_train --iters 3 --iter")
    assert sorted(shell.completions("%lora_attach ")) == sorted(["latest", run.name])
    assert shell.completions("x = %lora_stop " + run.name[:5]) == [run.name]
    assert "demo" in shell.completions("%lora_train --model ")
    assert shell.completions("%lora_test --adapter-path lat") == ["latest"]


def test_completion_of_paths(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "train.jsonl").touch()
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / ".hidden").touch()
    assert shell.completions("%lora_train -c r") == ["recipe.yaml", "rows/"]
    assert shell.completions("%lora_train --data rows/") == ["rows/train.jsonl"]
    assert ".hidden" not in shell.completions("%lora_train -c ")
    assert shell.completions(f"%lora_train -c {tmp_path}/rec") == [f"{tmp_path}/recipe.yaml"]


def test_other_lines_are_completed_as_ever(shell: Shell) -> None:
    shell.run("a_long_name = 1")
    assert "a_long_name" in shell.completions("a_long")
    assert "%lora_train" in shell.completions("%lora_tra")


def test_the_extension_can_be_unloaded_and_loaded_again(
    shell: Shell, started: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    cleanups = len(shell.shell.input_transformers_cleanup)
    shell.run("%unload_ext lora_nb")
    assert not any(name.startswith("lora_") for name in shell.shell.magics_manager.magics["line"])
    assert len(shell.shell.input_transformers_cleanup) == cleanups - 1
    shell.run("%lora_train --model m")
    assert "`%lora_train` not found" in "".join(capsys.readouterr())
    for _ in range(2):
        shell.load()
    assert len(shell.shell.input_transformers_cleanup) == cleanups
    shell.run("%lora_train --model m")
    assert len(started) == 1


def test_runs_are_found_by_the_folder_of_an_adapter(finished: Path) -> None:
    run = RunFolder(finished)
    assert run.status == "completed"
    assert [checkpoint.step for checkpoint in run.checkpoints] == [3, 6]
