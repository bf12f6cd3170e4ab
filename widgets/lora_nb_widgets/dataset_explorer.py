"""Data in pages: searched, filtered by what is wrong with it, and row by row as tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

import ipywidgets

from lora_nb.api import load_options
from lora_nb.config import DataConfig
from lora_nb.dataset.report import mask_view
from lora_nb.dataset.summary import rows_table
from lora_nb.display.tables import html_table, wrapper
from lora_nb.errors import LoraError
from lora_nb_widgets import theme
from lora_nb_widgets.config_form_fields import Path
from lora_nb_widgets.config_form_state import defaults_of, plain
from lora_nb_widgets.dataset_explorer_pages import Pages
from lora_nb_widgets.dataset_explorer_source import Chosen, Source, TextScreen, chosen_by
from lora_nb_widgets.dataset_explorer_text import counted, option, plain_row
from lora_nb_widgets.panel import Panel
from lora_nb_widgets.recipe import Recipe, recipe_of

__all__ = ["DatasetExplorer"]

_ALL = "all rows"
_EMPTY = "No data was opened yet. Name some, demo for instance, and press Open."


class DatasetExplorer(Panel):
    """The rows of some data, as they are and as training sees them.

    `data` is what `data_report` takes: a path or name, a frame, a list of dicts, a dict of them by
    split. With a `model`, rows are shown as tokens, and all of them can be checked. `options` are
    those of %lora_data. Raises LoraError if the data is not there.
    """

    name = "DatasetExplorer"

    def __init__(
        self, data: object = None, model: str | File | None = None, **options: Any
    ) -> None:
        super().__init__()
        given = {"data": data, "model": model, **options}
        self._options = {key: value for key, value in given.items() if value is not None}
        self._source: Source | None = None
        self._chosen: Chosen | None = None
        self._shown_row: str | None = None
        self._asked = 0
        self._filling = False
        self._make_inputs()
        self._lay_out()
        if data is not None:
            self._take(Source.opened(self._config()))

    # What others do with it

    @property
    def source(self) -> Source | None:
        """The data that is shown, None before any was opened."""
        return self._source

    @property
    def numbers(self) -> list[int]:
        """The rows on the page, counted from 0."""
        return list(self._pages.numbers)

    def open(self, data: str, model: str | None = None) -> None:
        """Show other data, by its path or name; it is opened beside the notebook's work."""
        self.use({**self._options, "data": data, "model": model or None})

    def use(self, options: Mapping[str, Any]) -> None:
        """Show what these options of %lora_data mean, as `open` does."""
        self._options = {key: value for key, value in options.items() if value is not None}
        self._reopen()

    def show_row(self, place: int | str) -> None:
        """Show one row below the page: 17, valid:17 or valid.jsonl:17."""
        source = self._opened()
        if isinstance(place, str) and place.strip().isdecimal() and self._chosen is not None:
            place = f"{self._chosen.name}:{place.strip()}"
        self._shown_row = str(place)
        asked = self._ask("Reading the row…")
        if source.config.model is None:
            self._show_detail(asked, plain_row(source, place))
            return
        self.later(
            lambda: mask_view(source.config, source.splits, place).html(),
            lambda html: self._show_detail(asked, html),
        )

    def record(self) -> str:
        """What is wrong with the data, its figures, first rows, and the row that is looked at."""
        if self._source is None:
            return wrapper("<div>No data was opened.</div>")
        return f"{self._source.report.html()}{self._detail.value}"

    def recipe(self) -> Recipe | None:
        """The look at the same data, or at the row."""
        if self._source is None:
            return None
        values = plain(self._source.config)
        # With the demo come defaults of its own.
        chosen: dict[Path, Any] = {
            (key,): values[key] for key in ("model", "data") if values[key] is not None
        }
        defaults = defaults_of(DataConfig, chosen)
        told = {k: values[k] for k in ("model", "data", *values) if values[k] != defaults[k]}
        words = ("--row", self._shown_row) if self._shown_row else ()
        return recipe_of("data", DataConfig, told, words)

    # How it is made

    def _make_inputs(self) -> None:
        self._data = _text("Data", "a folder, a .jsonl file, a Hugging Face data set, or demo")
        self._model = _text("Model", "none: rows are shown as they are")
        self._split = ipywidgets.Dropdown(description="Split", layout=theme.wide("14em"))
        self._finding = ipywidgets.Dropdown(description="Finding", layout=theme.wide("22em"))
        self._search = _text("Search", "a text in any key or value")
        self._place = _text("Row", "17, valid:17 or valid.jsonl:17")
        self._told = theme.html()
        self._detail = theme.html()
        self._report = theme.html()
        self._pages = Pages(self._turned)
        for widget in (self._split, self._finding, self._search):
            self.on(widget, self._choose)
        self.on(self._place, self._go_to_row)

    def _lay_out(self) -> None:
        def report() -> theme.Widget:
            return self._report

        self._fold = theme.Fold("Findings and figures", report)
        self._empty = theme.html(theme.note(_EMPTY, "quiet"))
        opens = theme.button("Open", self.handler(self._open_named), main=True)
        self.chooser = theme.column(theme.row(self._data, self._model, opens), self._empty)
        check = theme.button(
            "Check every row",
            self.handler(self._check),
            hint="Turn every row into tokens with the model, and list what is wrong",
        )
        filters = theme.row(self._split, self._finding, self._search)
        below = theme.column(
            self._pages.widget,
            theme.row(
                self._place,
                theme.button("Previous row", self.handler(lambda: self._step(-1))),
                theme.button("Next row", self.handler(lambda: self._step(1))),
                check,
            ),
            self._detail,
            self._fold.widget,
        )
        # Nothing that is about rows before there are any.
        self._about_rows = {filters: "flex", below: ""}
        for part in self._about_rows:
            theme.shown(part, yes=False)
        self.fill(self.chooser, filters, self._told, below)

    def _config(self) -> DataConfig:
        config: DataConfig = load_options(DataConfig, None, self._options)
        return config

    # What its buttons do

    def _open_named(self) -> None:
        if not self._data.value.strip():
            raise LoraError("Data: name a folder, a .jsonl file, a data set, or demo.")
        self.open(self._data.value.strip(), self._model.value.strip() or None)

    def _reopen(self) -> None:
        config = self._config()
        asked = self._ask(f"Opening {config.data}…")

        def take(source: Source) -> None:
            if asked == self._asked:
                self._take(source)

        self.later(lambda: Source.opened(config), take)

    def _check(self) -> None:
        source = self._opened()
        if source.config.model is None:
            raise LoraError("Tokens need a tokenizer: name a model, and open the data again.")
        asked = self._ask("Looking at every row…")
        screen = TextScreen(lambda line: self._say(asked, line))

        def take(checked: Source) -> None:
            if asked == self._asked:
                self._take(checked)
                self._fold.open()

        self.later(lambda: source.checked(screen), take)

    def _go_to_row(self) -> None:
        if self._place.value.strip():
            self.show_row(self._place.value)

    def _step(self, by: int) -> None:
        chosen = self._chosen
        if chosen is None or not chosen.numbers:
            raise LoraError("There is no row to go to.")
        place = self._pages.step(by)
        self.show_row(f"{chosen.name}:{chosen.numbers[place]}")

    def _choose(self) -> None:
        if self._filling:
            return
        source = self._opened()
        asked = self._ask("Searching…" if self._search.value.strip() else "")
        finding = self._finding.value
        arguments = (source, self._split.value, finding, self._search.value.strip())
        if not arguments[-1]:
            self._show(asked, chosen_by(*arguments))
            return
        self.later(lambda: chosen_by(*arguments), lambda chosen: self._show(asked, chosen))

    # What is shown

    def _opened(self) -> Source:
        if self._source is None:
            raise LoraError("Open some data first.")
        return self._source

    def _ask(self, told: str) -> int:
        """Begin something that makes what is still under way pointless."""
        self._asked += 1
        self._told.value = theme.note(told, "quiet")
        return self._asked

    def _say(self, asked: int, line: str) -> None:
        if asked == self._asked:
            self._told.value = theme.note(line, "quiet")

    def _take(self, source: Source) -> None:
        self._source = source
        theme.shown(self._empty, yes=False)
        for part, display in self._about_rows.items():
            theme.shown(part, yes=True, display=display)
        self._data.value = source.report.title
        self._model.value = source.config.model or ""
        self._shown_row, self._detail.value = None, ""
        self._report.value = source.report.html()
        self._filling = True
        self._split.options = [name for name, _ in source.splits.items()]
        self._finding.options = [(_ALL, None), *map(option, source.findings)]
        # Options that come later choose none.
        self._split.index = self._finding.index = 0
        self._search.value = ""
        self._filling = False
        self._show(self._ask(""), chosen_by(source, None, None, ""))

    def _show(self, asked: int, chosen: Chosen) -> None:
        if asked != self._asked:
            return
        self._chosen = chosen
        self._told.value = theme.note(counted(chosen, self._search.value.strip()), "quiet")
        self._pages.show(len(chosen.numbers))

    def _turned(self) -> None:
        """Draw the rows of the page that was turned to."""
        if self._chosen is None:
            return
        numbers = self._chosen.page(self._pages.first, self._pages.size)
        table = rows_table(self._chosen.rows, numbers)
        page = html_table(table.rows, table.columns) if numbers else "<i>No such rows.</i>"
        self._pages.draw(numbers, page)

    def _show_detail(self, asked: int, html: str) -> None:
        if asked == self._asked:
            self._told.value = ""
            self._detail.value = html


def _text(label: str, hint: str) -> theme.Widget:
    return ipywidgets.Text(
        description=label,
        placeholder=hint,
        tooltip=hint,
        continuous_update=False,
        layout=theme.wide("19em"),
    )
