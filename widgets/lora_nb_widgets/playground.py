"""A playground: talk with a base model and its adapters, checkpoint by checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_nb.config import GenerateConfig, load
from lora_nb.display.tables import html_table
from lora_nb.errors import LoraError
from lora_nb.runs import engine
from lora_nb_widgets import theme
from lora_nb_widgets.config_form_fields import Field, fields_of
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.playground_chat import Answer, Chat, Turn, turn_html
from lora_nb_widgets.playground_inputs import (
    chat_box,
    prompt_input,
    remember_input,
    side_input,
)
from lora_nb_widgets.playground_recipe import Request, recipe_for
from lora_nb_widgets.playground_source import Chosen, Source
from lora_nb_widgets.playground_talk import Talk
from lora_nb_widgets.recipe import Recipe

__all__ = ["Playground"]

_OWN = ("model", "adapter_path", "prompt", "history")
"""Options with a place of their own in the panel."""
_USUAL = ("temp", "top_p", "max_tokens", "seed")
_SIDES = {"adapter": ("adapter",), "base": ("base",), "both": ("base", "adapter")}
_BUSY = "An answer is under way. Press Stop, or wait for it."


class Playground(Panel):
    """Prompts and answers as they come, of an adapter, its base model, or both side by side.

    `adapter_path` is a folder, a run, `run@step` or `latest` (the newest run with checkpoints if
    not given); `model` the base model, the adapter's own if not given. Raises LoraError for an
    adapter that is not there.
    """

    name = "Playground"

    def __init__(
        self, model: str | Path | None = None, adapter_path: str | Path | None = None
    ) -> None:
        super().__init__()
        self.chat = Chat()
        self._talk: Talk | None = None
        self._last: list[Request] = []
        self.fields = {
            path[0]: field for path, field in fields_of(GenerateConfig, self.changed).items()
        }
        self._own_default = self.fields["model"].flag.default
        self.source = Source(adapter_path, self.handler(self._chosen))
        self.fields["model"].give(None if model is None else str(model))
        self._inputs()
        self._parts()
        self._chosen()

    def _inputs(self) -> None:
        self.side, self.remember, self.prompt = side_input(), remember_input(), prompt_input()
        for each in (self.side, self.remember, self.prompt):
            self.on(each, lambda: None)
        self.send_button = theme.button(
            "Send", self.handler(self.send), hint="Let them answer", main=True
        )
        self.stop_button = theme.button("Stop", self.handler(self.stop), hint="End the answer")
        self.stop_button.disabled = True
        self.clear_button = theme.button(
            "New conversation", self.handler(self.clear), hint="Forget what was said"
        )
        self.refresh_button = theme.button(
            "Refresh", self.handler(self._refresh), hint="Look again for runs and checkpoints"
        )
        self.release_button = theme.button(
            "Release memory", self.handler(self.release), hint="Take the model out of memory"
        )

    def _parts(self) -> None:
        self._said = theme.html()
        self._saying = theme.html()
        self._told = theme.html()
        self._scroll = chat_box(theme.column(self._said, self._saying))
        for key in ("model", *_USUAL):
            self.fields[key].compact()
        more = [f for key, f in self.fields.items() if key not in (*_OWN, *_USUAL)]
        self._more = theme.Fold(
            "System prompt and more options",
            lambda: theme.row(*(field.widget for field in more)),
            hint="All other options of %lora_generate",
        )
        self.fill(
            theme.row(self.fields["model"].widget, self.refresh_button),
            self.source.widget,
            theme.row(self.side, self.remember),
            theme.grid(*(self.fields[key].widget for key in _USUAL), least="190px"),
            self._more.widget,
            self._scroll,
            theme.row(self.prompt),
            theme.row(self.send_button, self.stop_button, self.clear_button, self.release_button),
            self._errors,
            self._told,
        )

    # What others do with it

    @property
    def model(self) -> str:
        """The base model that is asked."""
        return str(self._values().get("model", self._own_default))

    def use(self, adapter_path: str | Path) -> None:
        """Go on with another adapter; what was said stays. Raises LoraError if it is not there."""
        self.source.use(adapter_path)
        self._chosen()
        self.changed()

    # What its buttons do

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way."""
        return self._talk is not None

    def send(self) -> None:
        """Let the chosen sides answer the prompt, in a thread. Raises LoraError."""
        if self._talk is not None:
            raise LoraError(_BUSY)
        requests = self._requests()
        configs = {request.label: request.config for request in requests}
        turn = Turn(self.prompt.value, {each.label: Answer(each.title) for each in requests})
        talk = Talk(turn, configs, lambda: self._show(turn))
        self._talk, self._last = talk, requests
        self._told.value = ""
        self._saying.value = turn_html(turn)
        self._busy(yes=True)
        self.later(lambda: self._answer(talk, turn))

    def stop(self) -> None:
        """End the answer that is under way."""
        if self._talk is not None:
            self._talk.stop()
            self._told.value = theme.note("Stopping…", "quiet")

    def clear(self) -> None:
        """Forget what was said. Raises LoraError while an answer is under way."""
        if self._talk is not None:
            raise LoraError(_BUSY)
        self.chat = Chat()
        self._last = []
        self._said.value = self._saying.value = self._told.value = ""

    def release(self) -> None:
        """Take the model out of memory, once the answer that is under way has been stopped."""
        self.stop()
        self.later(engine.release, self._released)

    def close(self) -> None:
        """Stop what is under way and take the panel off the page."""
        self.stop()
        self.widget.close()

    def _released(self, was_there: bool) -> None:
        told = "The model is out of memory." if was_there else "No model was in memory."
        self._told.value = theme.note(told, "quiet")

    def _refresh(self) -> None:
        self.source.refresh()
        self._chosen()

    # Answers as they come

    def _answer(self, talk: Talk, turn: Turn) -> None:
        try:
            talk.answer()
            self._keep(turn)
        except LoraError:
            # The prompt stays in its field for another try.
            self._saying.value = ""
            raise
        finally:
            self._talk = None
            self._busy(yes=False)

    def _show(self, turn: Turn) -> None:
        self._saying.value = turn_html(turn)

    def _keep(self, turn: Turn) -> None:
        self.chat.turns.append(turn)
        self._said.value = self.chat.html()
        self._saying.value = self._told.value = ""
        if self.prompt.value == turn.prompt:
            self.prompt.value = ""

    def _busy(self, *, yes: bool) -> None:
        self.send_button.disabled = self.clear_button.disabled = yes
        self.stop_button.disabled = not yes

    # What is chosen

    def _chosen(self) -> None:
        self.fields["model"].default_is(self.source.base or self._own_default)
        theme.shown(self.side, self._has_adapter, "flex")
        self.later(self.source.draw, self.source.show)

    @property
    def _has_adapter(self) -> bool:
        return bool(self.source.adapter.value)

    def _values(self) -> dict[str, Any]:
        given = {key: _given(field) for key, field in self.fields.items() if key not in _OWN[1:]}
        values = {key: value for key, value in given.items() if value is not None}
        if "model" not in values and self.source.base:
            values["model"] = self.source.base
        return values

    def _requests(self) -> list[Request]:
        if not self.prompt.value.strip():
            raise LoraError("The prompt is empty. Write it into its field.")
        chosen = self.source.chosen
        labels = _SIDES[self.side.value] if chosen else ("base",)
        return [self._request(label, chosen, self._values()) for label in labels]

    def _request(self, label: str, chosen: Chosen | None, values: Mapping[str, Any]) -> Request:
        given = {**values, "prompt": self.prompt.value}
        if self.remember.value and (history := self.chat.history(label)):
            given["history"] = history
        title, word = "base model", ""
        if chosen is not None and label == "adapter":
            given["adapter_path"] = str(chosen.path)
            title, word = chosen.title, chosen.word
        return Request(label, title, word, load(GenerateConfig, flags=given), given)

    # What stays

    def record(self) -> str:
        """The conversation."""
        rows = [("model", self.model)]
        return html_table(rows) + self.chat.html(numbers=False)

    def recipe(self) -> Recipe | None:
        """The next request as code, or the last one while there is no next."""
        return recipe_for(self._requests() if self.prompt.value.strip() else self._last)


def _given(field: Field) -> Any:
    try:
        return field.given()
    except LoraError as problem:
        raise LoraError(f"{field.flag.path[-1]}: {problem}") from None
