"""Which model answers, and which adapter: of a folder, or of any checkpoint of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ipywidgets

from lora_nb.display import figure
from lora_nb.display.picture import png
from lora_nb.display.state import RunState, state_of
from lora_nb.display.words import loss
from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.adapters import base_of, find_adapter
from lora_nb.runs.folder import Checkpoint, RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.training_monitor_view import unseen

__all__ = ["Chosen", "Source", "checkpoint_labels", "marked_curve", "word_of"]

BASE, FOLDER = "", "folder"
_WIDTH, _HEIGHT = 9.0, 2.2


@dataclass(frozen=True)
class Chosen:
    """An adapter's folder, how it is called on a line, and in a heading."""

    path: Path
    word: str
    title: str


@dataclass(frozen=True)
class Drawn:
    """A run's curve as PNG, marked at a checkpoint, and its words."""

    point: Checkpoint
    picture: bytes
    alt: str


class Source:
    """Pickers for an adapter: a run and, along its curve, one of its checkpoints; or a folder.

    `changed` is called when another one is chosen.
    """

    def __init__(self, adapter_path: str | Path | None, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._quiet = True
        self._run: RunFolder | None = None
        self.adapter = ipywidgets.Dropdown(
            description="Adapter", tooltip="A run's adapter, a folder, or none", layout=theme.wide()
        )
        self.folder = ipywidgets.Text(
            description="Folder",
            tooltip="Folder of an adapter",
            placeholder="adapters",
            continuous_update=False,
            layout=theme.wide(),
        )
        self.checkpoint = ipywidgets.SelectionSlider(
            tooltip="Step of the training, as below",
            options=[("", "")],
            continuous_update=False,
            readout=False,
            layout=ipywidgets.Layout(width="98%", margin="2px 8px"),
        )
        # The slider's own readout has no room for more than a number, and it bears no name that
        # those could hear who do not see it.
        self.point = ipywidgets.Dropdown(
            description="Checkpoint",
            tooltip="Step of the training, with its validation loss",
            options=[("", "")],
            layout=theme.wide(),
        )
        ipywidgets.link((self.checkpoint, "index"), (self.point, "index"))
        self.words = theme.html()
        self.curve = ipywidgets.Image(
            format="png", layout=ipywidgets.Layout(max_width="100%", height="auto")
        )
        self.widget = theme.column(
            theme.row(self.adapter, self.folder),
            theme.row(self.point),
            self.words,
            self.curve,
            self.checkpoint,
        )
        self._begin(adapter_path)
        for each in (self.adapter, self.folder, self.checkpoint):
            each.observe(self._follow, "value")
        self._quiet = False

    @property
    def chosen(self) -> Chosen | None:
        """The adapter, None for the base model alone. Raises LoraError if it is not there."""
        if self.adapter.value == BASE:
            return None
        if self.adapter.value == FOLDER:
            word = self.folder.value.strip() or "adapters"
            return Chosen(find_adapter(word).absolute(), word, word)
        point = self.checkpoint.value
        if self._run is None or not isinstance(point, Checkpoint):
            raise LoraError("adapter_path: the run has no checkpoint (any more). Press Refresh.")
        return Chosen(point.path.absolute(), _word(self._run, point), _title(self._run, point))

    @property
    def base(self) -> str | None:
        """The model that the chosen adapter was made for, if it says so."""
        try:
            chosen = self.chosen
        except LoraError:
            return None
        return base_of(chosen.path) if chosen else None

    def use(self, adapter_path: str | Path) -> None:
        """Choose another adapter; of the run that is chosen already, the checkpoint stays.

        Raises LoraError if it is not there.
        """
        self._quiet, before = True, self._quiet
        try:
            folder = find_adapter(str(adapter_path)).resolve()
            if self._run is not None and folder.parent.parent == self._run.path.resolve():
                self.refresh()
            else:
                self._begin(adapter_path)
        finally:
            self._quiet = before

    def refresh(self) -> None:
        """Look again which runs and checkpoints there are."""
        point = self.checkpoint.value
        self._offer(self._run)
        steps = [each.step for _, each in self.checkpoint.options if each]
        if point and point.step in steps:
            self.checkpoint.index = steps.index(point.step)

    def draw(self) -> Drawn | None:
        """The run's curve with a mark at the checkpoint; None where there is none."""
        point = self.checkpoint.value
        if self._run is None or not point:
            return None
        state = state_of(self._run.records())
        if not state.has_curve:
            return None
        picture = marked_curve(state, self._run.name, point.step)
        return Drawn(point, picture, figure.alt_of(state))

    def show(self, drawn: Drawn | None) -> None:
        """Show what `draw` has made, unless another checkpoint has been chosen meanwhile."""
        if drawn:
            if drawn.point != self.checkpoint.value:
                return
            self.curve.value = drawn.picture
            self.words.value = unseen(drawn.alt)
            self.curve.width = str(round(_WIDTH * figure.DPI))
        theme.shown(self.curve, drawn is not None)

    def _begin(self, adapter_path: str | Path | None) -> None:
        if adapter_path is None:
            self._offer(next(_with_checkpoints(), None))
            return
        folder = find_adapter(str(adapter_path))
        above = folder.resolve().parent.parent
        if store.is_run(above):
            self._offer(RunFolder(above))
            paths = [each.path.resolve() for _, each in self.checkpoint.options if each]
            if folder.resolve() in paths:
                self.checkpoint.index = paths.index(folder.resolve())
            return
        self.folder.value = str(adapter_path)
        self._offer(None, FOLDER)

    def _offer(self, run: RunFolder | None, otherwise: str = BASE) -> None:
        runs = list(_with_checkpoints())
        if run is not None and run.path.resolve() not in {r.path.resolve() for r in runs}:
            runs = [run, *runs]
        self._quiet, before = True, self._quiet
        self.adapter.options = [
            ("none: the base model alone", BASE),
            ("a folder", FOLDER),
            *((each.name, str(each.path)) for each in runs),
        ]
        real = run.path.resolve() if run else None
        found = (str(each.path) for each in runs if each.path.resolve() == real)
        self.adapter.value = next(found, otherwise)
        self._pick()
        self._quiet = before

    def _follow(self, change: dict[str, object]) -> None:
        if self._quiet:
            return
        if change["owner"] is self.adapter:
            self._quiet = True
            self._pick()
            self._quiet = False
        self._changed()

    def _pick(self) -> None:
        value = str(self.adapter.value)
        self._run = RunFolder(Path(value)) if value not in (BASE, FOLDER) else None
        points = checkpoint_labels(self._run) if self._run else []
        for each in (self.checkpoint, self.point):
            each.options = points or [("", "")]
        if points:
            self.checkpoint.index = len(points) - 1
        theme.shown(self.folder, value == FOLDER)
        for each in (self.checkpoint, self.point, self.words):
            theme.shown(each, bool(points))
        if self._run is None:
            theme.shown(self.curve, False)


def checkpoint_labels(run: RunFolder) -> list[tuple[str, Checkpoint]]:
    """A run's checkpoints with step and validation loss, oldest first."""
    losses = state_of(run.records()).valid_losses
    return [(_label(point, losses.get(point.step)), point) for point in run.checkpoints]


def _label(point: Checkpoint, valid: float | None) -> str:
    told = f" · valid {loss(valid)}" if valid is not None else ""
    return f"step {point.step}{told}{' · best so far' if point.best else ''}"


def marked_curve(state: RunState, title: str, step: int) -> bytes:
    """The curve as PNG with a line at a step."""
    from lora_nb.display import style

    drawn = figure.draw(state, title=title, width=_WIDTH, height=_HEIGHT)
    drawn.axes[0].axvline(step, color=style.INK, linewidth=1.4, linestyle=":", zorder=7)
    return png(drawn)


def _with_checkpoints() -> Iterator[RunFolder]:
    for run in store.all_runs():
        folder = run.checkpoints_path
        if folder.is_dir() and any(folder.iterdir()):
            yield run


def word_of(run: RunFolder) -> str:
    """What a run is called on a line: its name where that is looked for, or its path."""
    is_known = run.path.resolve().parent == store.root().resolve()
    return run.name if is_known else str(run.path)


def _word(run: RunFolder, point: Checkpoint) -> str:
    word = word_of(run)
    return f"{word}@{point.step}" if word == run.name else str(point.path)


def _title(run: RunFolder, point: Checkpoint) -> str:
    return f"{run.name}, step {point.step}"
