"""The monitor of runs: what it shows, what its buttons ask for, and what it survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_nb.display import live
from lora_nb.display.words import plain as plain_text
from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    Event,
    Notice,
    Resumed,
    Sample,
    Started,
    TrainLoss,
)
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb_widgets.training_monitor import TrainingMonitor
from lora_nb_widgets.training_monitor_events import events_html
from tests.html_check import read
from tests.tiny import until
from tests.unit.display.made import numbered
from tests.unit.display.test_display_xss import XSS
from tests.unit.runs.kit import ended, loss, made, started

Start = Callable[..., RunFolder]


@pytest.fixture
def living(runs_root: Path) -> Iterator[Callable[..., RunFolder]]:
    """Makes runs whose lock is held, as if a worker lived, which answers nothing."""
    held: list[int] = []

    def make(*events: Event) -> RunFolder:
        run = made(runs_root, started(), loss(2), *events)
        descriptor = lock.take(run.lock_path)
        assert descriptor is not None
        held.append(descriptor)
        return run

    yield make
    for descriptor in held:
        os.close(descriptor)


def requests(run: RunFolder) -> list[dict[str, object]]:
    files = sorted(run.control_path.glob("*.json"))
    return [json.loads(file.read_text()) for file in files]


def followers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("lora_nb TrainingMonitor")]


def shown(panel: TrainingMonitor, status: str) -> None:
    """Wait until a status is shown, and the buttons are those of it."""

    def is_shown() -> bool:
        fitting = panel.steering.resume_button.disabled == (status != "paused")
        return panel.view.status == status and fitting and not panel.steering.stop_button.disabled

    until(is_shown, f"{status} to be shown")


def steers(panel: TrainingMonitor) -> list[str]:
    """The buttons for the run that are to be seen."""
    seen: list[str] = []
    waiting = [panel.steering.widget]
    while waiting:
        widget = waiting.pop(0)
        if widget.layout.display == "none":
            continue
        seen += [widget.description] if hasattr(widget, "click") else []
        waiting += getattr(widget, "children", ())
    return seen


def wait_for_report(panel: TrainingMonitor) -> None:
    """Wait for the first loss of a training."""

    def is_there() -> bool:
        look = panel.view.look
        assert look is None or not look.last, panel.view.line.value
        return look is not None and look.state.train is not None

    until(is_there, "a report")


def test_a_run_that_is_over_shows_its_last_state(finished: Path) -> None:
    panel = TrainingMonitor(finished)
    panel.settle()

    assert panel.view.status == "completed"
    assert bytes(panel.view.picture.value).startswith(b"\x89PNG")
    assert "Loss over steps: training loss from " in panel.view.line.value
    assert "completed: 6 steps in" in panel.view.line.value
    assert "learning rate" in panel.view.numbers.value
    assert "0.001" in panel.view.numbers.value
    assert "checkpoint" in panel.view.events.value
    assert panel.view.bar.value == 1.0
    assert panel.view.end.value == ""
    assert steers(panel) == []
    assert followers() == []
    record = read(panel.record())
    assert record.faults == []
    assert "%lora_attach" in record.text
    assert any(tag.startswith("img") for tag in record.tags)


def test_clicks_on_a_run_that_is_over_say_so(finished: Path) -> None:
    panel = TrainingMonitor(finished)
    panel.settle()
    panel.steering.stop_button.click()
    name = finished.name
    assert f"{name} is completed: there is no worker to stop." in panel._errors.value
    panel.steering.rate.value = "1e-4"
    panel.steering.rate_button.click()
    assert "there is no worker to give another learning rate" in panel._errors.value
    panel.refresh_button.click()
    assert panel._errors.value == ""
    panel.settle()


def test_buttons_leave_requests_for_the_worker(living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run.name)
    shown(panel, "running")
    for button in (
        panel.steering.stop_button,
        panel.steering.pause_button,
        panel.steering.evaluate_button,
    ):
        assert not button.disabled
        button.click()
    assert panel.steering.resume_button.disabled
    panel.steering.rate.value = "3e-6"
    panel.steering.rate_button.click()
    panel.steering.prompt.value = "how old is Bob?"
    panel.steering.sample_button.click()

    assert requests(run) == [
        {"request": "stop"},
        {"request": "pause"},
        {"request": "evaluate"},
        {"request": "learning_rate", "value": 3e-6},
        {"request": "sample", "prompt": "how old is Bob?"},
    ]
    assert panel._errors.value == ""
    panel.close()


@pytest.mark.parametrize("text", ["", "quick", "0", "-1e-5", "nan", "inf", "<b>"])
def test_a_wrong_learning_rate_is_refused(text: str, living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run)
    panel.steering.rate.value = text
    panel.steering.rate_button.click()
    assert "is no number above 0." in panel._errors.value
    assert "<b>" not in panel._errors.value
    assert requests(run) == []
    panel.close()


def test_an_empty_prompt_is_refused(living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run)
    panel.steering.prompt.value = " "
    panel.steering.sample_button.click()
    assert "The prompt of the sample is empty." in panel._errors.value
    assert requests(run) == []
    panel.close()


def test_answers_and_pauses_appear(living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run)
    shown(panel, "running")
    with EventLog(run.events_path) as log:
        log.write(ControlAnswered(request="pause", answer="paused", step=2))
        log.write(Sample(step=2, prompt="how old?", text="<i>SELECT</i>\nage"))
        until(lambda: "SELECT" in panel.view.events.value, "the sample")
        shown(panel, "paused")
        assert panel.steering.pause_button.disabled
        log.write(ControlAnswered(request="resume", answer="resumed", step=2))
        shown(panel, "running")
    events = read(panel.view.events.value)
    assert events.faults == []
    assert "step 2, how old?\n→ <i>SELECT</i>\nage" in events.text
    assert "paused (step 2)" in events.text
    panel.close()


def test_answers_do_not_wait_for_a_new_picture(
    living: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if drawing took so long that the next picture comes in a minute.
    monkeypatch.setattr(live, "_SHARE", 1e-9)
    monkeypatch.setattr(live, "_FREE_SECONDS", -1.0)
    monkeypatch.setattr(live, "_LONGEST", 60.0)
    run = living()
    panel = TrainingMonitor(run)
    shown(panel, "running")
    with EventLog(run.events_path) as log:
        log.write(loss(3))
        log.write(ControlAnswered(request="pause", answer="paused", step=3))
        shown(panel, "paused")
        log.write(ControlAnswered(request="resume", answer="resumed", step=3))
        shown(panel, "running")
        before = panel.view.picture.value
        log.write(loss(4))
        until(lambda: "step 4/10" in panel.view.line.value, "the next step")
    assert panel.view.picture.value == before
    panel.close()


def test_closing_ends_the_thread_and_leaves_the_run(living: Callable[..., RunFolder]) -> None:
    for close in (TrainingMonitor.close, lambda panel: panel.widget.close()):
        run = living()
        panel = TrainingMonitor(run)
        shown(panel, "running")
        assert len(followers()) == 1
        close(panel)
        panel.settle(5)
        assert followers() == []
        assert run.is_alive


def test_another_run_takes_the_place_of_the_first(
    living: Callable[..., RunFolder], runs_root: Path
) -> None:
    over = made(runs_root, started(), loss(4), ended("stopped", "Stopped."), name="over")
    run = living()
    panel = TrainingMonitor(run)
    shown(panel, "running")
    assert {value for _, value in panel.picker.options} == {str(over.path), str(run.path)}
    recipe = panel.recipe()
    assert recipe is not None
    assert recipe.magic == (
        f"%lora_attach {run.name} --background\n# To stop it: %lora_stop {run.name}"
    )
    panel.picker.value = str(over.path)
    panel.settle(5)

    assert panel.run == over
    assert panel.view.status == "stopped"
    assert followers() == []
    recipe = panel.recipe()
    assert recipe is not None
    assert recipe.magic == f"%lora_attach {over.name}"
    assert recipe.console == f"lora-nb attach {over.name}"
    assert "model: m" in recipe.yaml


def test_without_runs_it_says_how_to_start_one(runs_root: Path) -> None:
    panel = TrainingMonitor()
    assert "No runs here yet. %lora_train starts one" in panel._none.value
    assert "the tab Train" in panel._none.value
    assert panel.picker.layout.display == "none"
    assert "No runs here yet" in panel.record()
    assert panel.recipe() is None
    panel.steering.stop_button.click()
    assert "No runs here yet" in panel._errors.value

    run = made(runs_root, started(), loss(2), ended("completed"))
    panel.refresh_button.click()
    panel.settle()
    assert panel.run == run
    assert panel.view.status == "completed"
    assert panel._none.value == ""
    assert panel.picker.layout.display == ""


def test_only_what_helps_now_is_to_be_seen(
    living: Callable[..., RunFolder], runs_root: Path
) -> None:
    panel = TrainingMonitor(living())
    shown(panel, "running")
    asks = ["Stop", "Pause", "Resume", "Evaluate now", "Set", "Sample now"]
    assert steers(panel) == asks
    assert "lora-nb stop" in panel.steering._routes.value
    panel.close()

    fuse = made(runs_root, started(), ended("stopped", "Stopped."), name="fuse")
    (fuse.path / "run.json").write_text(json.dumps({**fuse.about, "verb": "fuse"}))
    without = made(runs_root, started(), loss(2), ended("stopped", "Stopped."), name="none-yet")
    saved = CheckpointSaved(step=2, path="checkpoints/0000002", best=True)
    stopped = made(runs_root, started(), loss(2), saved, ended("stopped", "x"), name="halfway")
    done = made(runs_root, started(), loss(2), saved, ended("completed", "x"), name="done")
    for run in (stopped, done):
        (run.path / "checkpoints/0000002").mkdir(parents=True)
    for run, wanted in ((without, []), (stopped, ["Resume training"]), (done, []), (fuse, [])):
        panel = TrainingMonitor(run)
        panel.settle()
        assert steers(panel) == wanted, run.name


def test_a_failure_before_the_first_step_has_no_empty_picture(runs_root: Path) -> None:
    panel = TrainingMonitor(made(runs_root, started(), ended("failed", "<b>no model</b>")))
    panel.settle()
    assert panel.view.picture.value == b""
    assert panel.view.picture.layout.display == "none"
    assert "lora-nb-error" in panel.view.line.value
    page = read(panel.view.line.value)
    assert "<b>no model</b>" in page.text
    assert page.faults == []


def test_a_name_that_fits_no_run_is_an_error(living: Callable[..., RunFolder]) -> None:
    living()
    with pytest.raises(LoraError, match="No run is called 'xyz'"):
        TrainingMonitor("xyz")


def test_a_crash_shows_the_log_and_the_way_on(runs_root: Path) -> None:
    saved = CheckpointSaved(step=2, path="checkpoints/0000002", best=True)
    run = made(runs_root, started(), loss(2), saved)
    (run.path / "checkpoints/0000002").mkdir(parents=True)
    run.log_path.write_text("\n".join([*map(str, range(30)), "<script>Killed</script>\x1b[31m"]))
    panel = TrainingMonitor(run)
    panel.settle()

    page = read(panel.view.end.value)
    assert page.faults == []
    assert panel.view.status == "crashed"
    assert "is gone without a word (killed, or out of memory)." in page.text
    assert "<script>Killed</script>" in page.text
    assert "\x1b" not in page.text
    assert f"%lora_train --resume {run.name}" in page.text
    assert "crashed at step 2/10" in panel.view.line.value


def test_the_log_is_read_when_it_is_wanted(living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run)
    run.log_path.write_text("one <b>line</b>\n")
    assert panel._log.value == ""
    panel._log_fold.open()
    assert "one &lt;b&gt;line&lt;/b&gt;" in panel._log.value
    run.log_path.write_text("another\n")
    panel._read_log()
    assert "another" in panel._log.value
    panel.close()


def test_a_folder_that_vanishes_ends_the_watching(living: Callable[..., RunFolder]) -> None:
    run = living()
    panel = TrainingMonitor(run)
    shown(panel, "running")
    shutil.rmtree(run.path)
    panel.settle(10)
    assert followers() == []
    panel.steering.stop_button.click()
    assert "there is no worker to stop" in panel._errors.value


@pytest.mark.parametrize("text", XSS)
def test_hostile_texts_stay_texts(text: str) -> None:
    events = (
        Notice(level="warning", message=text),
        ControlAnswered(request=text, answer=text, step=1),
        Sample(step=1, prompt=text, text=text),
        ended("failed", text),
    )
    page = read(events_html(numbered(events)))
    harmless = read(events_html(numbered((*(Notice(level="info", message="x") for _ in events),))))
    assert page.faults == []
    assert page.tags == harmless.tags
    assert page.text.count(plain_text(text, lines=True)) == 6


def test_a_real_run_is_steered_to_its_end(endless: Start) -> None:
    run = endless(steps_per_report=5, steps_per_eval=10**6)
    panel = TrainingMonitor()
    wait_for_report(panel)
    panel.steering.pause_button.click()
    shown(panel, "paused")
    panel.steering.resume_button.click()
    shown(panel, "running")
    panel.steering.rate.value = "5e-4"
    panel.steering.rate_button.click()
    panel.steering.prompt.value = "how old is <Bob>?"
    panel.steering.sample_button.click()
    until(lambda: "step " in panel.view.events.value and "→" in panel.view.events.value, "a sample")
    panel.steering.stop_button.click()
    panel.settle(30)

    assert panel.view.status == "stopped"
    assert run.status == "stopped"
    text = read(panel.view.events.value).text
    assert "0.0005 from step" in text
    assert "how old is <Bob>?\n→ " in text
    assert "Go on from its checkpoint of step" in panel.view.end.value
    reports = [r.event for r in run.records() if isinstance(r.event, TrainLoss)]
    assert reports[-1].learning_rate == pytest.approx(5e-4)


def test_a_stopped_training_goes_on_by_a_button(endless: Start) -> None:
    run = endless(steps_per_report=5)
    panel = TrainingMonitor(run)
    wait_for_report(panel)
    panel.steering.stop_button.click()
    panel.settle(30)
    assert steers(panel) == ["Resume training"]
    step = run.checkpoints[-1].step
    panel.steering.again_button.click()

    def goes_on() -> bool:
        look = panel.view.look
        return look is not None and not look.last and look.state.step > step

    until(goes_on, "a step behind the checkpoint")
    assert [r.event.step for r in run.records() if isinstance(r.event, Resumed)] == [step]
    assert panel._errors.value == ""
    assert "Stop" in steers(panel)
    # Somebody else has let it go on meanwhile.
    panel._go_on()
    until(lambda: "it needs no resuming" in panel._errors.value, "the reason")
    panel.steering.stop_button.click()
    panel.settle(30)


def test_a_worker_that_is_killed_is_told_of(endless: Start) -> None:
    run = endless(steps_per_report=5)
    panel = TrainingMonitor(run)
    wait_for_report(panel)
    pid = next(r.event.pid for r in run.records() if isinstance(r.event, Started))
    os.kill(pid, signal.SIGKILL)
    panel.settle(20)
    assert panel.view.status == "crashed"
    assert "was killed. The system does so when memory runs out" in panel.view.end.value
    assert "Stop" not in steers(panel)
