"""The loss curves of several runs in one picture, as a result that a notebook keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.display.overlay import DPI, overlay_alt, overlay_of
from lora_nb.display.picture import base64_text, png
from lora_nb.display.state import RunState, state_of
from lora_nb.display.text_table import text_table
from lora_nb.display.words import loss
from lora_nb.errors import LoraError
from lora_nb.history.differences import labels
from lora_nb.runs import store
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import sweep_around, sweep_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Overlay", "overlay"]

_FINE = 2
_FORMATS = (".pdf", ".png", ".svg")


class Overlay:
    """Runs in one picture; `runs` has the name of each by its label."""

    def __init__(self, named: Mapping[str, tuple[str, RunState]]) -> None:
        self.runs = {label: name for label, (name, _) in named.items()}
        self._states = {label: state for label, (_, state) in named.items()}

    @property
    def figure(self) -> Figure:
        """The picture, drawn anew."""
        return overlay_of(self._states, title="validation strong, training faint")

    def save(self, path: str | Path) -> Path:
        """Write the picture to a .png, .svg or .pdf file. Raises LoraError if that can't be."""
        file = Path(path).expanduser()
        if file.suffix.lower() not in _FORMATS:
            raise LoraError(f"--save: {path} is no name of a picture: give .png, .svg or .pdf.")
        try:
            self.figure.savefig(file, dpi=_FINE * DPI)
        except OSError as problem:
            raise LoraError(f"--save: {file} can't be written ({problem.strerror}).") from None
        return file

    def __repr__(self) -> str:
        rows = []
        for label, state in self._states.items():
            best, train = state.best, state.train
            rows.append(
                (
                    label,
                    f"{state.step}" if state.step else "",
                    loss(train.loss) if train else "",
                    f"{loss(best.loss)} at {best.step}" if best else "",
                )
            )
        return text_table(("curve", "steps", "train", "best valid"), rows)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
        figure = self.figure
        width, height = (round(side * DPI) for side in figure.get_size_inches())
        about = {"width": width, "height": height, "alt": overlay_alt(self._states)}
        picture = base64_text(png(figure, _FINE * DPI))
        return {"text/plain": repr(self), "image/png": picture}, {"image/png": about}


def overlay(names: Sequence[str]) -> Overlay:
    """The runs that are named, each by its name, or several by a part of it; or a sweep's trials.

    Raises LoraError if a name fits none, or none of them has losses.
    """
    runs = list({run.path: run for name in names or ["latest"] for run in _meant(name)}.values())
    states = {run.path: state_of(run.records()) for run in runs}
    drawn = [run for run in runs if states[run.path].has_curve]
    if not drawn:
        raise LoraError(f"No losses to draw in {', '.join(run.name for run in runs)}.")
    called = _called(drawn)
    return Overlay(
        {label: (run.name, states[run.path]) for label, run in zip(called, drawn, strict=True)}
    )


def _called(runs: list[RunFolder]) -> list[str]:
    found = labels(runs)
    return found if len(set(found)) == len(found) else [run.name for run in runs]


def _meant(name: str) -> Iterator[RunFolder]:
    try:
        one = store.find(name)
        # While a sweep goes on, it is the latest run, not the trial that it has started last.
        found = [(sweep_around(one) if name == "latest" else None) or one]
    except LoraError:
        found = [run for run in store.all_runs() if name.strip() and name in run.name][::-1]
        if not found:
            raise
    for run in found:
        if run.verb == "sweep":
            yield from (each.run for each in sweep_state(run).trials if each.run)
        else:
            yield run
