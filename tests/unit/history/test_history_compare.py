"""Several runs side by side: where they differ, and their curves in one picture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lora_nb
from lora_nb.config import TestConfig as OptionsOfTest
from lora_nb.display.overlay import overlay_alt, overlay_curves, overlay_of
from lora_nb.display.state import RunState, state_of
from lora_nb.history.differences import Differences, labels
from lora_nb.runs import launch, lock
from lora_nb.runs.events import Ended, Event, Resumed, Resuming
from lora_nb.runs.folder import RunFolder
from tests.html_check import read
from tests.unit.commands.conftest import Shell
from tests.unit.display.made import ended as over
from tests.unit.display.made import finished, losses, numbered, train, valid
from tests.unit.display.made import started as began
from tests.unit.runs.kit import ended, made, started
from tests.unit.sweep.kit import made_sweep


def drawn(root: Path, low: float, **options: object) -> RunFolder:
    return made(root, began(), valid(0, 2.0), train(2, 1.0, 4), valid(4, low), over(4), **options)


def test_only_options_that_differ_are_shown(shell: Shell, runs_root: Path) -> None:
    drawn(runs_root, 0.5, name="first", lora_parameters={"rank": 4}, adapter_path="a")
    drawn(runs_root, 0.4, name="second", lora_parameters={"rank": 8}, adapter_path="b", seed=3,
          model="<script>")  # fmt: skip
    found = shell.value("%lora_diff first second")
    frame = found.frame
    assert frame.index.tolist() == ["seed", "model", "lora_parameters.rank"]
    assert frame.iloc[:, 0].tolist() == [0, "m", 4]
    assert frame.iloc[:, 1].tolist() == [3, "<script>", 8]
    assert [name.split("-", 2)[2] for name in frame.columns] == ["first", "second"]
    assert found.results.loc["best_valid"].tolist() == [0.5, 0.4]
    assert isinstance(found, Differences)
    bundle = found._repr_mimebundle_()
    assert read(bundle["text/html"]).faults == []
    assert "<script" not in bundle["text/html"]
    last = repr(found).split("\n\n")[1]
    assert [line.split() for line in last.splitlines()[1:4]] == [
        ["status", "completed", "completed"], ["steps", "4", "4"], ["train_loss", "1.000", "1.000"],
    ]  # fmt: skip


def test_runs_of_different_verbs_can_be_compared(runs_root: Path) -> None:
    drawn(runs_root, 0.5, name="first", iters=7, lora_parameters={"rank": 4})
    launch.create(OptionsOfTest(model="m", data="d", name="tested", batch_size=2), runs_root)
    frame = lora_nb.diff("first", "tested").frame
    # Of what only one of them knows, no more than what was chosen.
    assert dict(zip(frame.index, frame.to_numpy().tolist(), strict=True)) == {
        "batch_size": [4, 2],
        "lora_parameters.rank": [4, "\N{EN DASH}"],
        "iters": [7, "\N{EN DASH}"],
        "adapter_path": ["adapters", None],
        "verb": ["train", "test"],
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "Name at least two runs to compare: %lora_diff RUN RUN."),
        ("first", "Name at least two runs to compare: %lora_diff RUN RUN."),
        ("first latest", "{run} is named twice."),
        ("first gone", "No run is called 'gone'."),
    ],
)
def test_wrong_comparisons(line: str, words: str, shell: Shell, runs_root: Path) -> None:
    run = drawn(runs_root, 0.5, name="first")
    problem = shell.error(f"%lora_diff {line}")
    assert str(problem).startswith(words.replace("{run}", run.name)), str(problem)


def test_equal_configs_say_so(runs_root: Path) -> None:
    drawn(runs_root, 0.5, name="first")
    drawn(runs_root, 0.5, name="second")
    assert lora_nb.diff("first", "second").frame.empty
    assert "no option differs" in repr(lora_nb.diff("first", "second"))


def test_curves_are_named_after_what_differs(shell: Shell, runs_root: Path) -> None:
    drawn(runs_root, 0.5, name="r4", lora_parameters={"rank": 4}, data="/x/rows")
    drawn(runs_root, 0.4, name="r8", lora_parameters={"rank": 8}, data="/x/rows")
    made(runs_root, started(), ended("failed"), name="r-without")
    found = shell.value("%lora_plot -- -r4 -r8")
    assert list(found.runs) == ["rank 4", "rank 8"]
    assert repr(found).splitlines() == [
        "curve   steps  train  best valid",
        "rank 4      4  1.000  0.500 at 4",
        "rank 8      4  1.000  0.400 at 4",
    ]
    data, about = found._repr_mimebundle_()
    assert data["image/png"]
    assert about["image/png"]["alt"] == (
        "Losses of 2 runs over steps; the lowest validation loss is 0.400, of rank 8."
    )
    legend = found.figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["rank 4 (0.500)", "rank 8 (0.400)"]
    # A part of several names stands for all of them; those without losses are left out.
    assert list(lora_nb.plot("-r").runs) == ["rank 4", "rank 8"]
    assert list(lora_nb.plot("r4").runs.values()) == [lora_nb.attach("r4").name]


def test_a_sweep_stands_for_its_trials(runs_root: Path) -> None:
    told: list[Event] = [began(), valid(0, 2.0), over(4)]
    sweep = made_sweep(runs_root, told, told, events=[began("sweep"), over()])
    assert list(lora_nb.plot(sweep.name).runs) == ["learning_rate 0.0001", "learning_rate 0.001"]


def test_equal_runs_are_told_apart_by_their_names(runs_root: Path) -> None:
    runs = [drawn(runs_root, 0.5), drawn(runs_root, 0.4), drawn(runs_root, 0.3, seed=2)]
    assert labels(runs[:2]) == [run.name for run in runs[:2]]
    assert labels(runs) == [f"seed 0 ({runs[0].name})", f"seed 0 ({runs[1].name})", "seed 2"]


def test_pictures_can_be_saved(
    shell: Shell, runs_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn(runs_root, 0.5)
    shell.run(f"_ = %lora_plot --save {tmp_path}/losses.svg")
    assert capsys.readouterr().out == f"Written to {tmp_path}/losses.svg.\n"
    assert (tmp_path / "losses.svg").read_text().startswith("<?xml")
    problem = shell.error(f"%lora_plot --save {tmp_path}/losses.txt")
    assert str(problem).startswith("--save: ")
    assert str(problem).endswith("losses.txt is no name of a picture: give .png, .svg or .pdf.")
    problem = shell.error(f"%lora_plot --save {tmp_path}/none/losses.png")
    assert "can't be written (No such file or directory)" in str(problem)


def test_nothing_to_draw_is_said(shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started(), ended("failed"))
    assert str(shell.error("%lora_plot")) == f"No losses to draw in {run.name}."
    assert str(shell.error("%lora_plot gone")).startswith("No run is called 'gone'.")


def test_validation_is_strong_training_faint_and_all_can_be_told_apart() -> None:
    figure = overlay_curves({"a": finished(), "b": finished()})
    shown = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]  # type: ignore[arg-type]
    faint = [line for line in shown if line.get_alpha() is not None and line.get_alpha() < 0.5]  # type: ignore[operator]
    strong = [line for line in shown if line not in faint]
    assert len(faint) == len(strong) == 2
    assert min(line.get_linewidth() for line in strong) > 1.5 * max(
        line.get_linewidth() for line in faint
    )
    many = overlay_curves({f"run {n}": finished() for n in range(25)})
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in many.axes[0].lines
        if line.get_zorder() == 4
    }
    assert len(looks) == 21
    legend = many.axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[-1].get_text() == "and 4 more"


def test_a_run_that_diverges_does_not_press_the_others_flat() -> None:
    wild = numbered([began(), train(1, 2.0), train(2, 1e9), train(3, float("nan"))])
    figure = overlay_curves({"tame": finished(), "wild": wild})
    assert 2.0 < figure.axes[0].get_ylim()[1] < 5


def test_a_run_without_losses_keeps_its_place() -> None:
    empty: dict[str, RunState] = {"a": RunState(), "b": RunState()}
    full = {"a": state_of(finished()), "b": state_of(numbered(losses(50, 10)))}
    sizes = {tuple(overlay_of(each).get_size_inches()) for each in (empty, full)}
    assert len(sizes) == 1
    assert overlay_alt(empty) == "Losses of 2 runs over steps, none with a validation yet."


def test_names_of_runs_are_completed(shell: Shell, runs_root: Path) -> None:
    run, other = drawn(runs_root, 0.5, name="singers"), drawn(runs_root, 0.5, name="songs")
    verbs = ("plot", "diff latest", "note", "delete", "runs", "sweep --resume", "train --resume",
             "fuse --adapter-path", "attach", "sample --run", "compare base")  # fmt: skip
    for verb in verbs:
        assert {run.name, other.name} <= set(shell.completions(f"%lora_{verb} 20")), verb
        # From any part of it: few know the date.
        assert shell.completions(f"%lora_{verb} inger") == [run.name], verb
    assert shell.completions("%lora_train --resume=song") == [f"--resume={other.name}"]
    assert shell.completions("%lora_attach lat") == ["latest"]


def test_runs_themselves_are_names_as_well(runs_root: Path) -> None:
    runs = [lora_nb.attach(str(drawn(runs_root, low).path)) for low in (0.5, 0.4)]
    assert list(lora_nb.plot(*runs).runs.values()) == [run.name for run in runs]
    assert list(lora_nb.diff(runs[0], runs[1].path).runs) == [run.name for run in runs]
    assert [each.run.name for each in lora_nb.delete(runs[0]).doomed] == [runs[0].name]


def test_a_run_that_has_failed_is_not_ringed(runs_root: Path) -> None:
    bad = numbered([began(), valid(0, 2.0), valid(4, 0.1), Ended(status="failed", message="No.")])
    states = {"good": state_of(finished()), "bad": state_of(bad)}
    best = states["good"].best
    assert best is not None
    assert overlay_alt(states).endswith(f" is {best.loss:.3f}, of good.")
    (ring,) = (line for line in overlay_of(states).axes[0].lines if len(line.get_xdata()) == 1)  # type: ignore[arg-type]
    assert list(ring.get_ydata()) == [best.loss]  # type: ignore[arg-type]


def test_the_latest_is_a_sweep_while_it_goes_on(runs_root: Path) -> None:
    told: list[Event] = [began(), valid(0, 2.0), over(4)]
    sweep = made_sweep(runs_root, told, told, events=[began("sweep")], name="a")
    held = lock.take(sweep.lock_path)
    assert held is not None
    assert len(lora_nb.plot().runs) == 2
    os.close(held)
    assert len(lora_nb.plot().runs) == 1


def test_a_resumed_run_is_drawn_without_its_void_steps(runs_root: Path) -> None:
    run = made(
        runs_root, began(), valid(0, 2.0), train(2, 1.0, 8), train(4, 9.0, 8), valid(4, 0.1),
        Resuming(changes=""), began(), Resumed(step=2, reported=2), train(4, 0.9, 8),
        valid(4, 0.7), train(8, 0.6, 8), over(8), name="went-on",
    )  # fmt: skip
    drawn(runs_root, 0.5, name="short")
    found = lora_nb.plot("went-on", "short")
    rows = [line.split() for line in repr(found).splitlines()]
    assert rows[1][1:] == ["8", "0.600", "0.700", "at", "4"]
    assert rows[2][1:] == ["4", "1.000", "0.500", "at", "4"]
    assert found.figure.axes[0].get_xlim()[1] == pytest.approx(8 * 1.01)
    told = [list(line.get_ydata()) for line in found.figure.axes[0].lines]  # type: ignore[arg-type]
    assert [1.0, 0.9, 0.6] in told
    results = lora_nb.diff("went-on", "short").results
    assert list(results.loc["best_valid"]) == [0.7, 0.5]
    assert run.status == "completed"
