"""The inputs of the playground that are no options, and the box that its conversation is in."""

from __future__ import annotations

import ipywidgets

from lora_nb_widgets import theme
from lora_nb_widgets.theme import LABEL, Widget

__all__ = ["chat_box", "prompt_input", "remember_input", "side_input"]

_CHAT_HEIGHT = "420px"


def side_input() -> Widget:
    """Who is to answer: both, adapter or base."""
    return ipywidgets.ToggleButtons(
        options=[("Both, side by side", "both"), ("Adapter", "adapter"), ("Base", "base")],
        description="Answers",
        tooltip="Who is to answer",
        style={"button_width": "auto", "description_width": LABEL},
        layout=ipywidgets.Layout(
            flex_flow="row wrap", align_items="center", width="auto", margin="2px 8px"
        ),
    )


def remember_input() -> Widget:
    """Whether what was said before goes along."""
    return ipywidgets.Checkbox(
        value=True,
        description="Remember the conversation",
        tooltip="Send what was said before along with each prompt",
        indent=False,
        layout=ipywidgets.Layout(width="auto", margin="2px 8px"),
    )


def prompt_input() -> Widget:
    """The field for the prompt."""
    return ipywidgets.Textarea(
        description="Prompt",
        placeholder="Your prompt. Tab, then Enter sends it.",
        tooltip="What is asked",
        rows=3,
        # Sent as a whole on leaving it: of single keys the last might come after the click.
        continuous_update=False,
        style={"description_width": LABEL},
        layout=theme.wide(),
    )


def chat_box(content: Widget) -> Widget:
    """A box of limited height: filled from below, it keeps its end in sight as it grows."""
    return ipywidgets.Box(
        (content,),
        tabbable=True,
        layout=ipywidgets.Layout(
            display="flex",
            flex_flow="column-reverse",
            max_height=_CHAT_HEIGHT,
            overflow="auto",
            width="100%",
            margin="6px 0",
        ),
    )
