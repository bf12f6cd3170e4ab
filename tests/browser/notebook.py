"""A notebook that is open in JupyterLab, as a user sees and handles it.

Outputs are read from the notebook's model, since the page renders only what is near the screen.
Waiting goes through the page, whose messages stand still while Python sleeps.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page

__all__ = ["Notebook", "Output"]

_LOOK_MS = 100
_FIND = "const app = window.jupyterapp, panel = app && app.shell.currentWidget;"


@dataclass(frozen=True)
class Output:
    """One output of a cell: what kind, its data by MIME type, its metadata, its plain text."""

    kind: str
    data: dict[str, str]
    metadata: dict[str, Any]
    text: str

    @property
    def picture(self) -> str:
        """The PNG in base64, empty if there is none."""
        return self.data.get("image/png", "")

    @property
    def alt(self) -> str:
        """The words that stand for the picture."""
        alt: str = self.metadata.get("image/png", {}).get("alt", "")
        return alt


class Notebook:
    """An open notebook: run cells, read outputs, press what can be pressed."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.path = path
        self.problems: list[str] = []
        """Errors of the page and its console."""
        self.dialogs: list[str] = []
        """Messages of alert, confirm and prompt."""
        self.requests: list[str] = []
        """Every address the page has asked for."""
        page.on("console", self._said)
        page.on("pageerror", lambda problem: self.problems.append(str(problem)))
        page.on("dialog", self._asked)
        page.on("request", lambda request: self.requests.append(request.url))

    def go(self, address: str, *, kernel: bool = True, busy: bool = False) -> None:
        """Load the notebook; wait until its cells are there, with `kernel` also for that.

        A kernel that is `busy` with a cell tells nothing of itself to a new page.
        """
        self.page.goto(address)
        self._until(f"{_FIND} return !!panel?.content?.model && panel.context.isReady;")
        if not kernel:
            asking = self.page.locator(".jp-Dialog")
            asking.get_by_role("button", name="No Kernel").click()
            asking.wait_for(state="detached")
            return
        self._until(f"{_FIND} return !!panel.sessionContext.session?.kernel;")
        self.page.evaluate(f"""() => {{ {_FIND}
            const seen = window.loraSeen = {{ pending: 0, statuses: [] }};
            panel.sessionContext.statusChanged.connect((_, status) => seen.statuses.push(status));
        }}""")
        heard = "kernel.connectionStatus === 'connected'"
        known = heard if busy else "['idle', 'busy'].includes(kernel.status)"
        self._until(f"{_FIND} const {{ kernel }} = panel.sessionContext.session; return {known};")

    def reload(self) -> None:
        """Load the page anew, as with F5."""
        self.go(self.page.url)

    def close(self) -> None:
        """Close the tab. The kernel stays."""
        self.page.close()

    # Cells

    def add(self, source: str) -> int:
        """Append a code cell; return its place."""
        place: int = self.page.evaluate(
            f"""source => {{ {_FIND}
                const model = panel.content.model.sharedModel, place = model.cells.length;
                model.insertCell(place, {{ cell_type: 'code', source }});
                return place;
            }}""",
            source,
        )
        return place

    def start_all(self) -> None:
        """Run All, without waiting for it."""
        self._command("notebook:run-all-cells")

    def start(self, cell: int) -> None:
        """Run one cell, without waiting for it."""
        self.choose(cell)
        self._command("notebook:run-cell")

    def run_all(self, seconds: float = 60) -> None:
        """Run All, and wait for its end."""
        self.start_all()
        self.wait_idle(seconds)

    def run(self, source: str, seconds: float = 60) -> list[Output]:
        """Append a cell, run it to its end, and give its outputs."""
        cell = self.add(source)
        self.start(cell)
        self.wait_idle(seconds)
        return self.outputs(cell)

    def choose(self, cell: int) -> None:
        """Make a cell the active one."""
        self.page.evaluate(f"cell => {{ {_FIND} panel.content.activeCellIndex = cell; }}", cell)

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until nothing that was started here runs any more, and the kernel is idle."""
        self._until(
            f"""{_FIND} return window.loraSeen.pending === 0
                && panel.sessionContext.session.kernel.status === 'idle';""",
            seconds,
        )

    def outputs(self, cell: int) -> list[Output]:
        """The outputs of a cell, from its model."""
        found: list[dict[str, Any]] = self.page.evaluate(
            f"cell => {{ {_FIND} return panel.content.widgets[cell].outputArea.model.toJSON(); }}",
            cell,
        )
        return [_output(raw) for raw in found]

    def count(self, cell: int) -> int | None:
        """The number in the brackets of a cell, None if it has not been run."""
        number: int | None = self.page.evaluate(
            f"cell => {{ {_FIND} return panel.content.widgets[cell].model.executionCount; }}", cell
        )
        return number

    def source(self, cell: int) -> str:
        """The text of a cell."""
        text: str = self.page.evaluate(
            f"cell => {{ {_FIND} return panel.content.widgets[cell].model.sharedModel.source; }}",
            cell,
        )
        return text

    def element(self, cell: int) -> Locator:
        """A cell on the page."""
        self.page.evaluate(
            f"async cell => {{ {_FIND} await panel.content.scrollToItem(cell, 'start'); }}", cell
        )
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{cell}"]')

    def wait_for(self, what: str, found: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until `found` holds; AssertionError with `what` if it does not in time."""
        deadline = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
            self.page.wait_for_timeout(_LOOK_MS)

    def pictures(self, cell: int, *, at_least: int, seconds: float = 60) -> list[Output]:
        """The different pictures that a cell shows one after the other, until there are enough."""
        seen: dict[str, Output] = {}

        def look() -> bool:
            seen.update((shown.picture, shown) for shown in self.outputs(cell) if shown.picture)
            return len(seen) >= at_least

        self.wait_for(f"{at_least} different pictures in cell {cell}", look, seconds)
        return list(seen.values())

    # The kernel

    def interrupt(self) -> None:
        """Press the stop button."""
        self._button("interrupt").click()

    def restart_kernel(self) -> None:
        """Press the restart button, say yes, and wait for the new kernel."""
        before: int = self.page.evaluate("window.loraSeen.statuses.length")
        self._button("restart").click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self._until(
            f"""const since = window.loraSeen.statuses.slice({before});
                return since.includes('restarting') && since.at(-1) === 'idle';"""
        )

    # What else a user does

    def complete(self, text: str) -> list[str]:
        """Type a text into a new cell and press TAB; return what is offered.

        A single match is put in at once; it is then found in the cell's text.
        """
        cell = self.add("")
        self.element(cell).locator(".cm-content").click()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Tab")
        items = self.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
        self.wait_for(
            f"completions of {text!r}", lambda: items.count() > 0 or self.source(cell) != text, 20
        )
        if self.source(cell) != text:
            return [re.split(r"\s", self.source(cell))[-1]]
        offered = items.all_text_contents()
        self.page.keyboard.press("Escape")
        return offered

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate(f"async () => {{ {_FIND} await panel.context.save(); }}")

    def toggle_files(self) -> None:
        """Hide or show the list of files."""
        self._command("application:toggle-left-area")

    def theme(self, name: str) -> None:
        """Change the theme, e.g. to JupyterLab Dark."""
        self._command("apputils:change-theme", theme=name)
        dark = "true" if "Dark" not in name else "false"
        self._until(f"return document.body.dataset.jpThemeLight === '{dark}'")

    # How it is done

    def _command(self, name: str, **values: str) -> None:
        # Never awaited here: a command that opens a dialog, or runs cells, may take for ever.
        self.page.evaluate(
            f"""([name, values]) => {{ {_FIND}
                const seen = window.loraSeen || {{ pending: 0 }};
                seen.pending += 1;
                app.commands.execute(name, values).finally(() => {{ seen.pending -= 1; }});
            }}""",
            [name, values],
        )

    def _button(self, name: str) -> Locator:
        return self.page.locator(
            f'.jp-NotebookPanel:not(.lm-mod-hidden) [data-jp-item-name="{name}"] jp-button'
        )

    def _until(self, body: str, seconds: float = 60) -> None:
        self.page.wait_for_function(f"() => {{ {body} }}", timeout=seconds * 1000)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            # A record that was renewed since the last save is no reason to stay.
            dialog.accept()
            return
        self.dialogs.append(dialog.message)
        dialog.dismiss()


def _output(raw: dict[str, Any]) -> Output:
    data = {mime: _joined(value) for mime, value in raw.get("data", {}).items()}
    said = raw.get("text", "") if raw["output_type"] == "stream" else raw.get("traceback", "")
    text = _joined(said) or data.get("text/plain", "")
    return Output(raw["output_type"], data, raw.get("metadata", {}), text)


def _joined(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
