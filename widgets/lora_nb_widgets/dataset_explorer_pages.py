"""Turning pages: which of many rows are shown, and the buttons for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from lora_nb_widgets import theme

__all__ = ["Pages"]

_SIZES = (10, 20, 50, 100)


class Pages:
    """Buttons and a place for one page of rows. `turned` is called when it must be drawn anew."""

    def __init__(self, turned: Callable[[], None]) -> None:
        self._turned = turned
        self._total = 0
        self._current = 0
        self.first = 0
        """The place of the page's first row among those that were chosen."""
        self.numbers: Sequence[int] = ()
        self._size = ipywidgets.Dropdown(
            options=_SIZES,
            description="Rows a page",
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="auto"),
        )
        self._size.observe(lambda _: self._to(self.first), "value")
        self._where = theme.html()
        self._buttons = {
            "First": lambda: self._to(0),
            "Previous": lambda: self._to(self.first - self.size),
            "Next": lambda: self._to(self.first + self.size),
            "Last": lambda: self._to(self._total - 1),
        }
        buttons = [
            theme.button(name, act, hint=f"{name} page") for name, act in self._buttons.items()
        ]
        self._page = theme.html()
        self._page.add_class("lora-nb-scroll")
        self.widget = theme.column(theme.row(*buttons, self._size, self._where), self._page)

    @property
    def size(self) -> int:
        """Rows on a page."""
        return int(self._size.value or 0)

    @property
    def html(self) -> str:
        """The page as it is shown."""
        value: str = self._page.value
        return value

    def show(self, total: int) -> None:
        """Begin with the first page of so many rows."""
        self._total = total
        self._current = -1
        self._to(0)

    def draw(self, numbers: Sequence[int], html: str) -> None:
        """Show the rows of these numbers, made into HTML."""
        self.numbers = numbers
        self._page.value = html
        last = self.first + len(numbers)
        self._where.value = (
            f"<span>{self.first + 1:,}-{last:,} of {self._total:,}</span>"  # only numbers
            if numbers
            else ""
        )

    def step(self, by: int) -> int:
        """The place of the next or previous row among those chosen; its page is shown."""
        if self._current < 0:
            self._current = self.first
        else:
            self._current = min(max(0, self._current + by), self._total - 1)
        if not self.first <= self._current < self.first + self.size:
            self._to(self._current)
        return self._current

    def _to(self, place: int) -> None:
        """Show the page with a row."""
        place = min(max(0, place), max(0, self._total - 1))
        self.first = place - place % self.size
        self._turned()
