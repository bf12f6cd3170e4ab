"""Steering a training with magics and the console, and letting it go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lora_nb.api import Run
from lora_nb.commands.steer import answered
from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.events import LearningRateSet, Resumed, ValidLoss
from tests.tiny import options_for, program, until
from tests.unit.commands.conftest import Shell
from tests.unit.commands.test_commands_live import words_for
from tests.unit.runs.kit import made, started


def test_a_training_is_steered_by_magics(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(home, adapter_path=tmp_path / "adapters", iters=10**6, steps_per_eval=10**6)
    run = shell.value(f"run = %lora_train --background {words}\nrun")
    until(lambda: len(run.metrics.dropna(subset=["train_loss"])) > 1, "the first report")
    capsys.readouterr()

    def said(line: str) -> str:
        shell.value(line)
        return capsys.readouterr().out

    assert said("%lora_pause").startswith(f"{run.name}: pause: paused (step ")
    assert run.status == "paused"
    # In a pause, too: nothing else moves the weights.
    text = shell.value("%lora_sample --max-tokens 4 Hello there")
    assert isinstance(text, str)
    again = shell.value(f"%%lora_sample --run {run.name} -m 4\nHello there")
    assert again == text
    capsys.readouterr()
    assert run.samples["prompt"].tolist() == ["Hello there"] * 2
    assert said("%lora_evaluate").startswith(f"{run.name}: evaluate: validating now (step ")
    until(lambda: sum(isinstance(r.event, ValidLoss) for r in run.records) == 2, "a validation")
    told = said("%lora_set --learning-rate 3e-5")
    assert told.startswith(f"{run.name}: learning rate: 3e-05 from step ")
    assert said("%lora_resume").startswith(f"{run.name}: resume: resumed (step ")
    assert said(f"%lora_resume {run.name}").startswith(f"{run.name}: resume: not paused (step ")
    until(lambda: run.metrics["learning_rate"].iloc[-1] == pytest.approx(3e-5), "the new rate")

    outside = program(sys.executable, "-m", "lora_nb.console", "pause", run.name)
    assert outside.stdout.startswith(f"{run.name}: pause: paused"), outside.stderr
    shell.value("%lora_stop")
    assert run.wait(30).status == "stopped"
    assert str(shell.error("%lora_pause")) == f"{run.name} is stopped: there is no worker to pause."
    assert str(shell.error("%lora_resume")) == (
        f"{run.name} is stopped: there is no worker to resume. `%lora_train --resume {run.name}` "
        "goes on from its last checkpoint."
    )
    assert str(shell.error("%lora_set --learning-rate 1e-5")) == (
        f"{run.name} is stopped: there is no worker to give another learning rate."
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%lora_set", "Nothing to set. Give --learning-rate X."),
        ("%lora_set --learning-rate fast", "--learning-rate: 'fast' is no number."),
        ("%lora_sample", "The prompt is empty. Write it behind the flags or into the cell."),
        ("%lora_sample -m 0 Hi", "--max-tokens: '0' is no whole number above 0."),
        ("%lora_pause one two", "One run at a time, please: got one, two."),
    ],
)
def test_wrong_words_are_told(
    line: str, message: str, shell: Shell, home: Path, tmp_path: Path, runs_root: Path
) -> None:
    (runs_root / "20260101-000000-one").mkdir(parents=True)
    (runs_root / "20260101-000000-one" / "run.json").write_text('{"verb": "train"}')
    assert str(shell.error(line)) == message


def test_a_training_goes_on_by_the_magic(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(home, adapter_path=tmp_path / "adapters", name="long")
    run = shell.value(f"run = %lora_train {words}\nrun")
    more = shell.value("more = %lora_train --resume latest --iters 9 --learning-rate 1e-4\nmore")
    assert more.name == run.name
    assert [checkpoint.step for checkpoint in more.checkpoints] == [6, 9]
    assert more.metrics["train_loss"].dropna().index.tolist() == [2, 4, 6, 8, 9]
    assert [r.event for r in more.records if isinstance(r.event, Resumed)] == [
        Resumed(step=6, reported=6, keeps_rates=False)
    ]
    rates = [r.event for r in more.records if isinstance(r.event, LearningRateSet)]
    assert rates == [LearningRateSet(step=6, value=1e-4)]

    refused = {
        "%lora_train --resume latest": (
            f"{run.name} is completed: all of its 9 steps are done. Give --iters with more than 9 "
            "to go on."
        ),
        "%lora_train --resume latest --rank 4 --iters 12": (
            "lora_parameters.rank: 8 -> 4 would make it another run. Leave it out, or start a new "
            f"run with --resume-adapter-file {run.name}, which takes its weights alone."
        ),
        "%lora_train --resume latest -c some.yaml": "--resume: the config is the run's own, ",
        "%%lora_train --resume latest\niters: 12": "--resume: the config is the run's own, ",
        "%lora_train --resume nobody": "No run is called 'nobody'.",
    }
    for line, message in refused.items():
        problem = shell.error(line)
        assert isinstance(problem, LoraError)
        assert str(problem).startswith(message)
    assert store.find("long").status == "completed"
    assert "--resume" in shell.completions("%lora_train --res")
    assert run.name in shell.completions("%lora_train --resume ")
    assert options_for(home)["model"] in more.config.model


def test_a_run_that_is_over_before_it_answers_is_not_waited_for(runs_root: Path) -> None:
    run = Run(made(runs_root, started()))
    with pytest.raises(LoraError) as problem:
        answered(run, "evaluate", lambda: None)
    assert str(problem.value) == f"{run.name}: evaluate: no answer, the run is crashed."
