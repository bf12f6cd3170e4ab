"""What all panels share: how they are shown, kept, how they fail, and what they are as code.

A panel is built like this:

    class Counter(Panel):
        name = "Counter"

        def __init__(self) -> None:
            super().__init__()
            self._count = 0
            self._told = html()
            self.fill(row(button("Count", self.handler(self._add))), self._told)

        def _add(self) -> None:                 # in the kernel: never slow
            self._count += 1
            self._told.value = escape(self._count)

        def record(self) -> str:                # what a saved notebook keeps
            return html_table([("count", self._count)])

        def recipe(self) -> Recipe | None:      # the same as code, None for nothing
            return recipe_of("runs", None, {})

- `self.widget` is the root. `fill` puts widgets into it; the error area comes above them, unless
  it is one of them, so that it is near the button of a tall panel, and the recipe below. Build
  them with `theme`: `row` wraps at 800 px, colours are Jupyter's.
- Handlers go through `self.handler(f)`: it clears the error area, calls `f()`, shows a LoraError
  there, and then calls `changed`. A handler reads the file system at most, writes a control file
  or starts a worker. What is slow goes to `self.later(work, then)`: `work` is called in a daemon
  thread, then `then` with its result in the same thread. Threads touch traits only.
- `changed()` after any change of what is shown brings recipe and record up to date (the record at
  most every two seconds). Handlers and `later` call it.
- `record()` gives escaped HTML without scripts (`html_table`, `<img src="data:image/png...">`).
  Use nothing that differs from one run of a notebook to the next if it can be helped.
- `repr`, and so the output's text/plain, is `<lora_nb NAME>` for ever.
"""

from __future__ import annotations

import contextvars
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import ipywidgets

from lora_nb.display.notebook import in_kernel, new_handle, show
from lora_nb.errors import LoraError
from lora_nb_widgets import theme
from lora_nb_widgets.recipe import Recipe, RecipeView
from lora_nb_widgets.saved import SavedRecord

__all__ = ["VIEW", "Panel"]

VIEW = "application/vnd.jupyter.widget-view+json"

Result = TypeVar("Result")

_EXPECTED = (LoraError, OSError, ValueError)


class Panel:
    """A part of the notebook that is used with mouse and keyboard; see the module for how."""

    name: ClassVar[str] = "Panel"
    code_title: ClassVar[str] = "The same as code"

    def __init__(self) -> None:
        self._errors = theme.html()
        self._recipe_view = RecipeView(self.code_title)
        self._listeners: list[Callable[[], None]] = []
        self._threads: list[threading.Thread] = []
        self._saved = SavedRecord(self.record, f"{self!r} record", told=self._recorded)
        self._older = theme.html()
        self._mark = f"{theme.LIVE}-{uuid.uuid4().hex[:12]}"
        self.widget = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.widget.add_class(theme.LIVE)
        self.widget.add_class(self._mark)
        for told in (self._errors, self._older):
            theme.shown(told, yes=False)

    # What a panel of its own kind says

    def record(self) -> str:
        """The HTML that a saved notebook shows in place of the panel."""
        return ""

    def recipe(self) -> Recipe | None:
        """What the panel does, as code. Raises LoraError while its inputs are wrong."""
        return None

    # What it is built with

    def fill(self, *children: theme.Widget) -> None:
        """Put widgets into the panel, in the place of those of before."""
        self.widget.children = (
            theme.look(),
            self._older,
            *(() if self._errors in children else (self._errors,)),
            *children,
            self._recipe_view.widget,
        )
        self._show_recipe()

    def handler(self, action: Callable[[], None]) -> Callable[[], None]:
        """The action as a handler: what goes wrong is told in the error area."""

        def handled() -> None:
            self.fail(None)
            try:
                action()
            except _EXPECTED as problem:
                self.fail(problem)
            self.changed()

        return handled

    def on(self, widget: theme.Widget, action: Callable[[], None], trait: str = "value") -> None:
        """Call an action, as a handler, when an input has changed."""
        handled = self.handler(action)
        widget.observe(lambda _: handled(), trait)

    def later(
        self, work: Callable[[], Result], then: Callable[[Result], None] = lambda _: None
    ) -> threading.Thread:
        """Do something slow in a daemon thread, and then something with its result."""

        def run() -> None:
            try:
                then(work())
            except _EXPECTED as problem:
                self.fail(problem)
            self.changed()

        # Newer kernels send what a thread without it shows to whichever cell ran last.
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(run,), name=f"lora_nb {self.name}", daemon=True
        )
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return thread

    def fail(self, problem: BaseException | str | None) -> None:
        """Show a problem in the error area, or clear it."""
        self._errors.value = "" if problem is None else theme.note(str(problem), "error")
        theme.shown(self._errors, problem is not None)

    def changed(self) -> None:
        """Bring recipe and record up to date, and tell who listens."""
        self._show_recipe()
        self._saved.changed()
        for listener in self._listeners:
            listener()

    # What others do with it

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the panel has changed."""
        self._listeners.append(listener)

    def settle(self, timeout: float = 30.0) -> None:
        """Wait for the panel's threads. Raises LoraError if they take longer."""
        deadline = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise LoraError(f"{self.name} is still at work after {timeout:g} seconds.")

    def __repr__(self) -> str:
        return f"<lora_nb {self.name}>"

    def _ipython_display_(self) -> None:
        if not in_kernel():
            show({"text/plain": repr(self)})
            return
        # An empty page in place of the view, where a front end can't or must not show it.
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": "", VIEW: self._view()}
        new_handle().display(bundle, raw=True, metadata={})
        self._saved.show()

    def _recorded(self, mark: str) -> None:
        """Let the page tell if the record that it keeps is another one."""
        self._older.value = theme.older_record(self._mark, mark)
        theme.shown(self._older, yes=True)

    def _view(self) -> object:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_() or {}
        return bundle[VIEW]

    def _show_recipe(self) -> None:
        try:
            self._recipe_view.show(self.recipe())
        except LoraError:
            # The panel says itself what is wrong with its inputs.
            self._recipe_view.show(None)
