"""A run as users have it in their hands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.api.watching import monitored, watched
from lora_nb.display import mimebundle
from lora_nb.display.notebook import show, this_cell
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, store
from lora_nb.runs.events import Record, TestLoss
from lora_nb.runs.export_events import Fidelity
from lora_nb.runs.folder import Checkpoint, RunConfig, RunFolder, RunStatus
from lora_nb.runs.notes import Notes, annotate, read_notes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Run", "Sweep", "run_of"]


class Run:
    """A run, live or over: its state, its figures, and the means to steer it."""

    def __init__(self, folder: RunFolder, *, shown: bool = False) -> None:
        self.folder = folder
        # A cell that has just watched the run needs no second picture of it as its result.
        self._shown_in = this_cell() if shown else None

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def status(self) -> RunStatus:
        """starting, running, paused, completed, stopped, failed, aborted or crashed."""
        return self.folder.status

    @property
    def config(self) -> RunConfig:
        """The complete config of the run."""
        return self.folder.config

    @property
    def records(self) -> list[Record]:
        """Every event so far."""
        return self.folder.records()

    @property
    def metrics(self) -> pd.DataFrame:
        """Losses, rates and memory by step, one row for each step with a report."""
        from lora_nb.display.metrics import metrics

        return metrics(self.folder.records())

    @property
    def test(self) -> TestLoss | None:
        """Loss and perplexity on the test rows, if they were computed."""
        found = [r.event for r in self.folder.records() if isinstance(r.event, TestLoss)]
        return found[-1] if found else None

    @property
    def fidelity(self) -> pd.DataFrame | None:
        """How a fused model compares with its base and adapter, if that was checked."""
        from lora_nb.display.fidelity import fidelity_frame

        found = [r.event for r in self.folder.records() if isinstance(r.event, Fidelity)]
        return fidelity_frame(found[-1]) if found else None

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints on disk, oldest first."""
        return self.folder.checkpoints

    @property
    def adapter_path(self) -> Path | None:
        """The newest adapter of the run, or None before the first checkpoint."""
        return self.folder.adapter_path

    @property
    def notes(self) -> Notes:
        """What was noted on the run, and its tags."""
        return read_notes(self.folder)

    def note(
        self, text: str = "", *, tag: str | Iterable[str] = (), untag: str | Iterable[str] = ()
    ) -> Notes:
        """Add a note and tags, or take tags away; returns what is there then.

        Several tags are a list, or a text with commas between them.
        """
        return annotate(self.folder, text, tag=tag, untag=untag)

    def plot(self) -> Figure:
        """The loss curve as a matplotlib figure."""
        from lora_nb.display import loss_curve

        return loss_curve(self.folder.records(), title=self.name)

    def stop(self) -> None:
        """Ask the worker to stop after its step and save."""
        control.send(self.folder, "stop")

    def pause(self) -> None:
        """Ask the worker to wait; it stops and saves if nobody resumes it within an hour."""
        control.send(self.folder, "pause")

    def resume(self) -> None:
        """Let a paused worker go on."""
        control.send(self.folder, "resume")

    def evaluate(self) -> None:
        """Ask the worker for a validation after its step."""
        control.send(self.folder, "evaluate")

    def set_learning_rate(self, value: float) -> None:
        """Let the training go on with another learning rate, in place of a schedule as well.

        Raises LoraError for what is no number.
        """
        try:
            # NumPy's numbers are none of JSON's.
            number = float(value)
        except (TypeError, ValueError):
            raise LoraError(f"learning_rate: {value!r} is no number.") from None
        control.send(self.folder, "learning_rate", value=number)

    def sample(self, prompt: str, max_tokens: int = control.SAMPLE_TOKENS) -> None:
        """Ask the training for what it would answer now; `samples` has it a moment later."""
        control.send(self.folder, "sample", prompt=prompt, max_tokens=max_tokens)

    @property
    def samples(self) -> pd.DataFrame:
        """What was generated during the training: step, prompt and text."""
        from lora_nb.display.samples import samples_frame

        return samples_frame(self.folder.records())

    def abort(self) -> None:
        """End the worker at once, without saving."""
        control.abort(self.folder)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run is over. Raises LoraError after `timeout` seconds."""
        if not attach.wait(self.folder, timeout):
            raise LoraError(f"{self.name} is still {self.status} after {timeout:g} seconds.")
        return self

    def settle(self, timeout: float = 10.0) -> RunStatus:
        """The status once a stop has had time to be carried out, at most `timeout` seconds."""
        attach.wait(self.folder, timeout)
        return self.status

    def watch(self, *, background: bool = False) -> Run:
        """Show the run until it is over; an interrupt ends the watching, not the run.

        Raises LoraError if the run failed.
        """
        if background:
            monitored(self.folder)
        else:
            watched(self.folder, owner=False)
        return run_of(self.folder, shown=True)

    def summary(self) -> str:
        """The run in a few lines of text."""
        text: str = self._record()["text/plain"]
        return text

    def _record(self) -> dict[str, Any]:
        return mimebundle(self.folder)

    def __repr__(self) -> str:
        return f"<lora_nb run {self.name}: {self.status}>"

    def _ipython_display_(self) -> None:
        if self._shown_in is None or self._shown_in != this_cell():
            show(self._record())


class Sweep(Run):
    """A sweep, live or over: a run whose trials are runs of their own."""

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The trials, the lowest validation loss first, with the swept options as columns."""
        from lora_nb.sweeping.board import Board

        return Board(self.folder).frame()

    @property
    def trials(self) -> list[Run]:
        """The runs of the trials that have been started, in their order."""
        from lora_nb.runs.sweep_state import sweep_state

        return [Run(each.run) for each in sweep_state(self.folder).trials if each.run]

    @property
    def best(self) -> Run | None:
        """The run of the trial with the lowest validation loss that has not failed, or None."""
        from lora_nb.sweeping.board import Board

        first = Board(self.folder).first()
        return Run(first.run) if first and first.run else None

    def plot(self) -> Figure:
        """The losses of all trials in one figure."""
        from lora_nb.display.overlay import overlay_of
        from lora_nb.sweeping.board import Board

        return overlay_of(Board(self.folder).states(), title=self.name)

    def _record(self) -> dict[str, Any]:
        from lora_nb.sweeping.record import leaderboard_bundle, sweep_bundle

        # The curves are in this cell already, the ranking is not.
        shown = self._shown_in is not None and self._shown_in == this_cell()
        return leaderboard_bundle(self.folder) if shown else sweep_bundle(self.folder)

    def _ipython_display_(self) -> None:
        show(self._record())


def run_of(folder: RunFolder, *, shown: bool = False) -> Run:
    """The run in a folder; `shown` if the cell has a picture of it already."""
    # A damaged one says so itself when it is asked for something.
    kind = Sweep if store.does(folder, "sweep") else Run
    return kind(folder, shown=shown)
