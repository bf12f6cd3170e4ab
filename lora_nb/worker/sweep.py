"""A sweep: one training after another, each a run of its own. No model is loaded in here."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lora_nb.config import TrainConfig
from lora_nb.config.grid import Trial
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, launch
from lora_nb.runs.adapters import owner_of
from lora_nb.runs.control import NO_SAMPLE, Request
from lora_nb.runs.death import explain
from lora_nb.runs.events import (
    ControlAnswered,
    Ended,
    Notice,
    Progress,
    Record,
    Sample,
    TrainLoss,
)
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.ranking import first
from lora_nb.runs.sweep_state import (
    SweepState,
    TrialRun,
    in_words,
    keep_runs,
    result_of,
    results_of,
    sweep_state,
)
from lora_nb.worker.session import Session

__all__ = ["sweep"]

# A training that has failed would fail again.
_OVER = ("completed", "failed")
_BROKEN_OFF = ("stopped", "aborted", "crashed")
_PROGRESS_SECONDS = 0.5
_GRACE_SECONDS = 2.0
_LEAVE_SECONDS = 10.0


def sweep(session: Session) -> Ended:
    """Run all trials that are not over yet. One that fails does not end the others."""
    state = sweep_state(session.run)
    refused: list[str] = []
    for each in state.trials:
        if each.status in _OVER:
            continue
        _take_requests(session, None)
        if session.stopping:
            break
        run = each.run
        try:
            run = _started(session, state, each)
            stage = f"trial {each.trial.number}/{len(state.trials)}"
            if _Company(session, run, stage).to_its_end():
                session.stopping = True
        except _NotStartedError as problem:
            refused.append(f"{_words_of(each.trial)} could not start: {problem}")
            session.warn(refused[-1])
            continue
        except BaseException:
            # However this process ends, it leaves no training behind that nobody waits for.
            _end(run)
            raise
        _tell_of(session, each.trial, run)
    return _ending(session, sweep_state(session.run), refused)


class _NotStartedError(Exception):
    """A trial has no worker, e.g. as another run's adapter has taken its place; others may."""


def _started(session: Session, state: SweepState, each: TrialRun) -> RunFolder:
    """The run of a trial: one that still goes on, one that is taken up again, or a new one."""
    run = each.run
    if run is not None and (run.is_alive or run.status not in _BROKEN_OFF):
        return run

    def keep(run: RunFolder) -> None:
        # Before it starts, so that one whose sweep is killed just then is not forgotten.
        try:
            keep_runs(session.run, state, each.trial, run)
        except OSError as problem:
            raise _NotStartedError(
                f"{session.run.sweep_path} can't be written: {problem.strerror}."
            ) from None

    try:
        if run is None:
            return launch.start(_config_of(each), session.run.path.parent, made=keep)
        launch.resume(run, _config_of(each))
    except LoraError as problem:
        raise _NotStartedError(str(problem)) from None
    return run


def _config_of(each: TrialRun) -> TrainConfig:
    """The training of a trial, which may replace what a run of this trial has left before."""
    config = each.trial.config
    if each.run is not None:
        # It has been said when the run was started, and its own name is not on the adapter yet.
        before = each.run.config
        replaces = isinstance(before, TrainConfig) and before.overwrite
    else:
        owner = owner_of(Path(config.adapter_path).expanduser())
        replaces = each.called is not None and owner == each.called
    return dataclasses.replace(config, overwrite=True) if replaces else config


@dataclass
class _Company:
    """The sweep beside one of its trials, from the trial's start to its end."""

    session: Session
    run: RunFolder
    stage: str
    began: float = field(default_factory=time.time)
    told: float = 0.0
    asked_to_stop: bool = False
    paused: bool = False

    def to_its_end(self) -> bool:
        """Wait for it. True if the sweep is to end with it, as its pause was too long."""
        self.session.emit(Progress(stage=self.stage, done=0, total=0))
        for record in attach.follow(self.run, idle=self._look):
            self._take(record)
            self._look()
        if not attach.wait(self.run, _LEAVE_SECONDS):
            # The next one needs the memory.
            control.abort(self.run)
        if self.paused and self.run.status != "stopped":
            # Its pause has ended with it, and the next trial does not wait.
            self.session.emit(ControlAnswered(request="resume", answer="resumed", step=0))
            return False
        return self.paused

    def _look(self) -> None:
        _take_requests(self.session, self.run)
        if self.session.stopping and not self.asked_to_stop:
            self.asked_to_stop = True
            with contextlib.suppress(LoraError):
                control.send(self.run, "stop")

    def _take(self, record: Record) -> None:
        if record.time < self.began:
            return
        match record.event:
            case TrainLoss(step=step, steps=steps):
                now = time.monotonic()
                if now - self.told >= _PROGRESS_SECONDS or step == steps:
                    self.told = now
                    stage = f"{self.stage} \N{MIDDLE DOT} step"
                    self.session.emit(Progress(stage=stage, done=step, total=steps))
            case ControlAnswered(request=request, answer=answer) if request != "stop":
                self.session.emit(record.event)
                if request in ("pause", "resume"):
                    self.paused = answer == "paused"
            case Sample():
                self.session.emit(record.event)
            case Notice(message=message) if message.startswith(NO_SAMPLE):
                self.session.emit(record.event)


def _take_requests(session: Session, run: RunFolder | None) -> None:
    """Take what is asked of the sweep; but for a stop it is passed on to the trial, who answers."""
    for request in session.inbox.take():
        if request.name == "stop":
            session.stopping = True
            _answer(session, request, "stopping")
        elif request.name == "learning_rate":
            _answer(session, request, "refused: the trials of a sweep keep theirs")
        elif run is None:
            _answer(session, request, "refused: no trial is running just now")
        else:
            try:
                control.send(run, request.name, **request.values)
            except LoraError:
                _answer(session, request, "refused: the trial is over")


def _answer(session: Session, request: Request, answer: str) -> None:
    session.emit(ControlAnswered(request=request.name, answer=answer, step=0))


def _end(run: RunFolder | None) -> None:
    """End a trial, if there is one, at once, within the time that this process itself has left."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # By its parent's hand: a worker that has just been started has not told its number yet.
    children = psutil.Process().children()
    for child in children:
        child.terminate()
    _, alive = psutil.wait_procs(children, _GRACE_SECONDS)
    for child in alive:
        child.kill()
    psutil.wait_procs(alive, _GRACE_SECONDS)
    # One that an earlier worker of this sweep has started is nobody's child.
    if run is not None:
        control.abort(run)


def _tell_of(session: Session, trial: Trial, run: RunFolder) -> None:
    end, what = run.ended, _words_of(trial)
    status = run.status
    if end is not None and end.refused:
        session.warn(f"{what} could not go on: {end.refused}")
    elif status == "failed" and end is not None:
        session.warn(f"{what} failed: {end.message}")
    elif status == "crashed":
        session.warn(f"{what} crashed. {explain(run)}")
    else:
        best = result_of(TrialRun(trial, run, run.name)).best
        told = f", best validation loss {best:.4g}" if math.isfinite(best) else ""
        session.inform(f"{what} is {status}{told}.")


def _words_of(trial: Trial) -> str:
    return f"Trial {trial.number} ({in_words(trial.values)})"


def _ending(session: Session, state: SweepState, refused: Sequence[str]) -> Ended:
    total = len(state.trials)
    statuses = [each.status for each in state.trials]
    completed = statuses.count("completed")
    if session.stopping and any(status not in _OVER for status in statuses):
        told = f"{completed} of {total} trials {'is' if completed == 1 else 'are'} complete"
        more = f"%lora_sweep --resume {session.run.name} goes on."
        return Ended(status="stopped", message=f"{told}; {more}")
    if not completed:
        return Ended(status="failed", message=_why_none(state, refused))
    others = ", ".join(
        f"{statuses.count(status)} {status}"
        for status in dict.fromkeys(statuses)
        if status != "completed"
    )
    message = f"{total} trials{f' ({others})' if others else ''}."
    best = first(results_of(state))
    if best is None:
        return Ended(status="completed", message=f"{message} There was no validation to rank them.")
    trial = best.trial
    message += f" Best validation loss {best.best:.4g}: {in_words(trial.values)}."
    return Ended(status="completed", message=message, adapter_path=trial.config.adapter_path)


def _why_none(state: SweepState, refused: Sequence[str]) -> str:
    """What the first trial that failed says; most often it is the same with all of them."""
    for each in state.trials:
        if each.run and (end := each.run.ended) and end.status == "failed":
            return f"No trial was completed. {_words_of(each.trial)}: {end.message}"
    if refused:
        return f"No trial was completed. {refused[0]}"
    return "No trial was completed. %lora_sweep --resume goes on with those that can."
