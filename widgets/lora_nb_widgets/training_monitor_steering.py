"""What a run can be asked for: buttons and inputs of which only those are seen that help now."""

from __future__ import annotations

import math
from collections.abc import Callable

import ipywidgets

from lora_nb.errors import LoraError
from lora_nb.runs import control
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets import theme
from lora_nb_widgets.training_monitor_follow import LIVE

__all__ = ["Steering"]

_ROUTES = (
    "A click waits while the kernel is busy with a cell. In a terminal, lora-nb stop {} works."
)

Action = Callable[[], None]
Send = Callable[..., None]


class Steering:
    """Buttons for a run that lives, and one for a training that can go on from a checkpoint.

    `send` takes the name of a request and its values, `go_on` lets the training go on; `handler`
    makes handlers of what may fail.
    """

    def __init__(self, handler: Callable[[Action], Action], send: Send, go_on: Action) -> None:
        self._handler = handler
        self._send = send
        self._asks()
        self._inputs()
        self.again_button = theme.button(
            "Resume training",
            handler(go_on),
            hint="Go on from the newest checkpoint, with the same options",
            main=True,
        )
        self._for_training = (self.pause_button, self.resume_button, self.evaluate_button)
        self._buttons = theme.row(self.stop_button, *self._for_training, self.again_button)
        self._more = theme.row(self.rate, self.rate_button, self.prompt, self.sample_button)
        self._routes = theme.html()
        self.widget = theme.column(self._buttons, self._more, self._routes)

    def _asks(self) -> None:
        def asks(text: str, name: control.RequestName, hint: str) -> theme.Widget:
            return theme.button(text, self._handler(lambda: self._send(name)), hint=hint)

        self.stop_button = asks("Stop", "stop", "Stop after this step and save")
        self.pause_button = asks("Pause", "pause", "Wait after this step, an hour at most")
        self.resume_button = asks("Resume", "resume", "End the pause")
        self.evaluate_button = asks("Evaluate now", "evaluate", "Validate after this step")

    def _inputs(self) -> None:
        # Sent as a whole on leaving it: of single keys the last might come after the click.
        self.rate = ipywidgets.Text(
            continuous_update=False,
            description="Learning rate",
            placeholder="e.g. 1e-5",
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="200px"),
        )
        self.rate_button = theme.button(
            "Set", self._handler(self._set_rate), hint="Go on with this learning rate"
        )
        self.prompt = ipywidgets.Textarea(
            rows=1,
            continuous_update=False,
            description="Prompt",
            placeholder="what the model is asked in between",
            style={"description_width": "initial"},
            layout=theme.wide("240px"),
        )
        self.sample_button = theme.button(
            "Sample now", self._handler(self._sample), hint="Let the model answer after this step"
        )

    def show(self, run: RunFolder, status: str) -> None:
        """Show what a run in this state can be asked for; nothing while the state is unknown."""
        lives, trains = status in LIVE, run.verb == "train"
        self.pause_button.disabled = status == "paused"
        self.resume_button.disabled = status != "paused"
        theme.shown(self.stop_button, lives)
        for button in self._for_training:
            theme.shown(button, lives and trains)
        theme.shown(self._more, lives and trains, "flex")
        theme.shown(self._routes, lives)
        self._routes.value = theme.note(_ROUTES.format(run.name), "quiet")
        ended_early = not lives and status not in ("", "completed")
        theme.shown(self.again_button, ended_early and trains and bool(run.checkpoints))

    def _set_rate(self) -> None:
        try:
            value = float(self.rate.value)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise LoraError(f"learning_rate: '{self.rate.value}' is no number above 0.")
        self._send("learning_rate", value=value)

    def _sample(self) -> None:
        if not self.prompt.value.strip():
            raise LoraError("The prompt of the sample is empty. Write it into its field.")
        self._send("sample", prompt=self.prompt.value)
