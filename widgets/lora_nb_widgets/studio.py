"""The studio: data, training, watching, trying out and fusing, in tabs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets

from lora_nb import api
from lora_nb.config import DataConfig, TrainConfig
from lora_nb.config.fields import specs_of
from lora_nb.errors import LoraError
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.config_form import ConfigForm
from lora_nb_widgets.dataset_explorer import DatasetExplorer
from lora_nb_widgets.fuse_panel import FusePanel
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.playground import Playground
from lora_nb_widgets.playground_source import word_of
from lora_nb_widgets.recipe import Recipe, recipe_of
from lora_nb_widgets.training_monitor import TrainingMonitor

__all__ = ["TABS", "Studio"]

TABS = ("Data", "Train", "Watch", "Playground", "Fuse")
_DEMO = {"model": "demo", "data": "demo"}
_OF_DATA = {spec.key for spec in specs_of(DataConfig)}


class Studio(Panel):
    """Everything from the rows to the fused model, for one model, data set and run.

    `values` are options of a training, nested as in YAML, and `file` is a YAML file with such. If
    they name neither model nor data, the embedded demo is chosen. Raises LoraError for wrong ones.
    """

    name = "Studio"
    code_title = "This studio as code"

    def __init__(
        self, values: Mapping[str, Any] | None = None, file: str | Path | None = None
    ) -> None:
        super().__init__()
        self.form = ConfigForm(keep=_DEMO)
        if file is not None:
            self.form.load(file)
        given = dict(values or {})
        is_chosen = file is not None or not given.keys().isdisjoint(_DEMO)
        self.form.give(given if is_chosen else {**_DEMO, **given})
        _ = self.form.config
        # Chosen above the tabs.
        self.form.fold("Data", is_open=False)
        self.run: RunFolder | None = None
        self._watched: RunFolder | None = None
        self._panels: dict[str, Panel] = {}
        self._made_for: dict[str, object] = {}
        self._places = {name: theme.column() for name in TABS}
        self._model = _choice("Model", ("demo",))
        self._data = _choice("Data", ("demo",))
        self._following = False
        self._tabs = ipywidgets.ToggleButtons(
            options=TABS,
            value=TABS[0],
            tooltips=[_HINTS[name] for name in TABS],
            style={"button_width": "auto"},
        )
        self._tabs.add_class("lora-nb-tabs")
        self.on(self._tabs, self._turned)
        self.on(self._model, self._chosen)
        self.on(self._data, self._chosen)
        self.form.on_change(self._follow_form)
        self._follow_form()
        self.fill(theme.row(self._model, self._data), self._tabs, *self._places.values())
        self._turned()

    # What others do with it

    @property
    def model(self) -> str:
        """The model of the run that is looked at, or else the one that was chosen."""
        if self.run is not None and self.run.verb == "train":
            return str(getattr(self.run.config, "model", None) or "")
        value: str = self._model.value
        return value.strip()

    @property
    def data_options(self) -> dict[str, Any]:
        """The options that say which rows are meant and how they become tokens."""
        given = {key: value for key, value in self.form.values.items() if key in _OF_DATA}
        return {**given, "model": self._model.value.strip(), "data": self._data.value.strip()}

    @property
    def tab(self) -> str:
        """The tab that is open; set it to open another."""
        return str(self._tabs.value)

    @tab.setter
    def tab(self, name: str) -> None:
        self._tabs.value = name

    def panel(self, name: str) -> Panel:
        """The panel in a tab, which is made when the tab is first opened."""
        self._make(name)
        return self._panels[name]

    def start(self) -> RunFolder:
        """Start the training that the form describes, and watch it. Raises LoraError."""
        self.run = api.launched(self.form.config).folder
        self.tab = "Watch"
        return self.run

    def record(self) -> str:
        """The records of all tabs that were opened."""
        parts = [
            f"{theme.title(name)}{self._panels[name].record()}"
            for name in TABS
            if name in self._panels
        ]
        return "".join(parts)

    def recipe(self) -> Recipe | None:
        """The studio with the same options; each tab has what it does below it."""
        here = recipe_of("studio", TrainConfig, self.form.values)
        # There is no studio in a terminal.
        there = recipe_of("train", TrainConfig, self.form.values)
        return replace(here, console=there.console)

    # How it is made

    def _make(self, name: str) -> None:
        wanted = self._key(name)
        if name in self._panels and self._made_for[name] == wanted:
            return
        self._made_for[name] = wanted
        if name in self._panels and self._renewed(name):
            return
        made = _MAKERS[name](self)
        self._panels[name] = made
        # The newest run is the studio's from here on, not once the monitor has drawn it.
        self._follow(name)
        made.on_change(lambda: self._follow(name))
        start = [self._start_row()] if name == "Train" else []
        self._places[name].children = (*start, made.widget)

    def _key(self, name: str) -> object:
        """What a tab's panel depends on."""
        if name == "Train":
            return None
        if name == "Watch":
            return self.run
        if name == "Data":
            return self.data_options
        return (self.model, _adapter(self))

    def _renewed(self, name: str) -> bool:
        """Let a panel that is there show what is chosen now, if it can."""
        panel = self._panels[name]
        if isinstance(panel, TrainingMonitor) and self.run is not None:
            panel.watch(self.run)
            self._watched = self.run
            return True
        if isinstance(panel, DatasetExplorer):
            panel.use(self.data_options)
            return True
        adapter = _adapter(self)
        if isinstance(panel, Playground) and panel.model == self.model and adapter:
            panel.use(adapter)
            return True
        if isinstance(panel, FusePanel):
            panel.use(self.model, adapter)
            return True
        return False

    def _start_row(self) -> theme.Widget:
        return theme.row(
            theme.button(
                "Start training",
                self.handler(self._start),
                hint="Start a run with these options, and watch it",
                main=True,
            ),
        )

    # What its inputs do

    def _start(self) -> None:
        self.start()

    def _turned(self) -> None:
        for name, place in self._places.items():
            theme.shown(place, name == self.tab)
        self._make(self.tab)

    def _chosen(self) -> None:
        """Bring model and data that were chosen above into the form, and so everywhere."""
        if self._following:
            return
        self.form.give({"model": self._model.value.strip(), "data": self._data.value.strip()})
        self._make(self.tab)

    def _follow(self, name: str) -> None:
        """Take note of what has changed in a tab."""
        panel = self._panels.get(name)
        # Only a run that was picked there: the monitor also tells how the one of before goes.
        if isinstance(panel, TrainingMonitor) and panel.run not in (None, self._watched):
            self.run = self._watched = self._made_for[name] = panel.run
        self._saved.changed()

    def _follow_form(self) -> None:
        """Show above which model and data the form has; what was wrong may be so no longer."""
        self.fail(None)
        config = self.form.checked
        if config is None or self._following:
            return
        self._following = True
        self._model.value, self._data.value = config.model, config.data
        self._following = False


def _choice(label: str, options: tuple[str, ...]) -> theme.Widget:
    return ipywidgets.Combobox(
        description=label,
        options=options,
        ensure_option=False,
        continuous_update=False,
        tooltip=f"{label} of every tab",
        layout=theme.wide("19em"),
    )


def _explorer(studio: Studio) -> Panel:
    options = studio.data_options
    data = options["data"]
    is_here = data == "demo" or Path(data).expanduser().exists()
    explorer = DatasetExplorer()
    try:
        if is_here:
            explorer = DatasetExplorer(**options)
        else:
            # Fetched, which takes a while; the studio opens all the same.
            explorer.use(options)
    except LoraError as problem:
        explorer.fail(problem)
    theme.shown(explorer.chooser, yes=False)
    return explorer


def _adapter(studio: Studio) -> str | None:
    """The run that is looked at, once it has an adapter."""
    run = studio.run
    return None if run is None or run.adapter_path is None else word_of(run)


_MAKERS: dict[str, Callable[[Studio], Panel]] = {
    "Data": _explorer,
    "Train": lambda studio: studio.form,
    "Watch": lambda studio: TrainingMonitor(studio.run),
    "Playground": lambda studio: Playground(studio.model, _adapter(studio)),
    "Fuse": lambda studio: FusePanel(studio.model, _adapter(studio)),
}
_HINTS = {
    "Data": "Look at the rows, and at what is wrong with them",
    "Train": "Choose options and start a training",
    "Watch": "See how runs go, and steer them",
    "Playground": "Try the model, with and without the adapter",
    "Fuse": "Put the adapter into the model, and export it",
}
