"""A monitor of runs: how one goes, and the means to steer it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets

from lora_nb import api
from lora_nb.display.record import mimebundle
from lora_nb.display.tables import html_table
from lora_nb.errors import LoraError
from lora_nb.runs import control, store
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.recipe import Recipe
from lora_nb_widgets.training_monitor_steering import Steering
from lora_nb_widgets.training_monitor_view import RunView, log_html

if TYPE_CHECKING:
    from lora_nb.api import Run

__all__ = ["TrainingMonitor"]

# The saved notebook's record of a live run is brought up to date this often.
_KEEP_SECONDS = 30.0
_NONE = (
    "No runs here yet. %lora_train starts one, and so does the tab Train of %lora_studio; "
    "then press Refresh."
)


class TrainingMonitor(Panel):
    """Curve, numbers, events and log of a run, live or over; buttons stop, pause and steer it.

    `run` is a Run, its name, a part of it, its folder, or `latest`; the newest if not given.
    Raises LoraError if no or several runs fit.
    """

    name = "TrainingMonitor"

    def __init__(self, run: Run | RunFolder | str | Path | None = None) -> None:
        super().__init__()
        self.run: RunFolder | None = None
        self._offering = False
        self._final = ""
        self._code: Recipe | None = None
        self._kept = float("-inf")
        self.view = RunView(self.widget)
        self._picker()
        self.steering = Steering(self.handler, self._send, self._go_on)
        self._log = theme.html()
        self._log_fold = theme.Fold("Worker log", self._log_area, hint="What the worker printed")
        self._none = theme.html()
        self._watched = theme.column(self.steering.widget, self.view.widget, self._log_fold.widget)
        self.fill(theme.row(self.picker, self.refresh_button), self._none, self._watched)
        self._offer(_folder(run))

    def _picker(self) -> None:
        self.picker = ipywidgets.Dropdown(
            description="Run", tooltip="Which run to watch, the newest first", layout=theme.wide()
        )
        self.on(self.picker, self._picked)
        self.refresh_button = theme.button(
            "Refresh", self.handler(self.refresh), hint="Look again for runs, and at this one"
        )

    # What is watched

    def refresh(self) -> None:
        """Look again which runs there are, and at the one that is picked."""
        self._offer(self.run)

    def watch(self, run: Run | RunFolder | str | Path) -> None:
        """Watch another run. Raises LoraError if no or several runs fit."""
        self._offer(_folder(run))

    def close(self) -> None:
        """Follow no run any more, and take the panel off the page."""
        self.view.close()
        self.widget.close()

    def _offer(self, wanted: RunFolder | None) -> None:
        runs = store.all_runs()
        if wanted is not None and wanted.path.resolve() not in {r.path.resolve() for r in runs}:
            runs = [wanted, *runs]
        chosen = wanted or next(iter(runs), None)
        # Given new options, a picker picks the first one of its own accord.
        self._offering = True
        self.picker.options = [(run.name, str(run.path)) for run in runs]
        self.picker.value = _value(runs, chosen)
        self._offering = False
        self._watch(chosen)

    def _picked(self) -> None:
        if not self._offering and self.picker.value is not None:
            self._watch(RunFolder(Path(self.picker.value)))

    def _watch(self, run: RunFolder | None) -> None:
        self.view.close()
        self.run = run
        self._final, self._code, self._kept = "", None, float("-inf")
        self._none.value = "" if run else theme.note(_NONE)
        for part in (self.picker, self._watched):
            theme.shown(part, run is not None)
        if run is None:
            return
        self.steering.show(run, "")
        if self._log_fold.head.value:
            self._read_log()
        follower = self.view.follower(run, self._looked)
        self.later(follower.follow)

    def _looked(self) -> None:
        if self.run is not None:
            self.steering.show(self.run, self.view.status)
            if self.view.is_over(self.run):
                self._code = None
        if time.monotonic() > self._kept + _KEEP_SECONDS:
            self._kept = time.monotonic()
            self.changed()

    # What is asked of the worker

    def _send(self, name: control.RequestName, **values: object) -> None:
        if self.run is None:
            raise LoraError(_NONE)
        control.send(self.run, name, **values)

    def _go_on(self) -> None:
        if (run := self.run) is not None:
            self.later(lambda: api.relaunched(str(run.path), {}), lambda _: self._watch(run))

    # The log

    def _log_area(self) -> theme.Widget:
        self._read_log()
        again = theme.button("Read again", self.handler(self._read_log), hint="Its newest lines")
        return theme.column(theme.row(again), self._log)

    def _read_log(self) -> None:
        self._log.value = log_html(self.run) if self.run else ""

    # What stays

    def record(self) -> str:
        """The run as a saved notebook shows it: what is known of it by now."""
        if self.run is None:
            return theme.note(_NONE, "quiet")
        if not self._final and self.view.is_over(self.run):
            self._final = mimebundle(self.run)["text/html"]
        if self._final:
            return self._final
        again = f"%lora_attach {self.run.name}"
        rows = [("run", self.run.name), ("see it again with", again)]
        return html_table(rows) + self.view.picture_html()

    def recipe(self) -> Recipe | None:
        """How to watch the run by magics and console, and the options it has."""
        if self.run is None:
            return None
        if self._code is None:
            self._code = _recipe(self.run, is_over=self.view.is_over(self.run))
        return self._code


def _folder(run: Run | RunFolder | str | Path | None) -> RunFolder | None:
    if run is None or isinstance(run, RunFolder):
        return run
    return store.find(run) if isinstance(run, str | Path) else run.folder


def _value(runs: list[RunFolder], chosen: RunFolder | None) -> str | None:
    if chosen is None:
        return None
    real = chosen.path.resolve()
    return next(str(run.path) for run in runs if run.path.resolve() == real)


def _recipe(run: RunFolder, *, is_over: bool) -> Recipe:
    try:
        yaml = run.config_path.read_text(encoding="utf-8")
    except OSError:
        yaml = ""
    name = run.name
    watching = f"%lora_attach {name}"
    if not is_over:
        watching += f" --background\n# To stop it: %lora_stop {name}"
    return Recipe(watching, yaml, f"lora-nb attach {name}")
