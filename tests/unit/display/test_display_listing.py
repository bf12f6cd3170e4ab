"""What an upload sends is shown before it goes, and stays to be read."""

from __future__ import annotations

import io
from typing import Any

import pytest

from lora_nb.display import LiveView, mimebundle
from lora_nb.display.listing import listing_text
from lora_nb.display.progress import progress_line
from lora_nb.display.screen import LineScreen, TtyScreen
from lora_nb.runs.events import Ended, Event, Progress
from lora_nb.runs.export_events import Uploaded, UploadListed
from tests import html_check
from tests.unit.display.made import FakeKernel, View, numbered, started

FILES = {"README.md": 1_500, "model.safetensors": 4_200_000}
URL = "https://huggingface.co/me/x"


def listed(**changes: Any) -> UploadListed:
    told: dict[str, Any] = {"repo": "me/x", "private": True, "files": FILES}
    return UploadListed(**{**told, "left_out": [".env", "<b>"], "dry_run": False, **changes})


UPLOADED = Uploaded(repo="me/x", url=URL, private=True, commit="0", files=2, size=4_201_500)
DONE = Ended(status="completed", message="", seconds=3)


def shown(screen: Any, *events: Event) -> None:
    view = LiveView("runs/x", screen=screen)
    for record in numbered([started("upload"), *events]):
        view.feed(record)


def test_the_list() -> None:
    assert listing_text(listed()).splitlines() == [
        "2 files, 4.2 MB, go to me/x (private):",
        "  file                 size",
        "  README.md            2 kB",
        "  model.safetensors    4.2 MB",
        "  not sent: .env, <b>",
    ]
    would = listing_text(listed(private=False, dry_run=True, left_out=[]))
    assert would.startswith("2 files, 4.2 MB, would go to me/x (public):")
    assert "not sent" not in would


@pytest.mark.parametrize("kind", [LineScreen, TtyScreen])
def test_terminals_show_it_once(kind: Any) -> None:
    out = io.StringIO()
    shown(kind(out), listed(), Progress(stage="uploading", done=0, total=9), UPLOADED, DONE)
    assert out.getvalue().count("2 files, 4.2 MB, go to me/x (private):") == 1
    assert "  model.safetensors    4.2 MB" in out.getvalue()


def test_a_cell_shows_it_beside_the_picture(
    kernel: FakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(None, listed(), DONE)
    assert "model.safetensors    4.2 MB" in capsys.readouterr().out


def test_lines_of_progress() -> None:
    sending = Progress(stage="uploading", done=1_500, total=4_201_500)
    told: list[Event] = [started("upload"), listed(), sending]
    assert progress_line(numbered(told), "running") == "uploading 2 kB of 4.2 MB…"
    line = progress_line(numbered([*told, UPLOADED, DONE]), "completed")
    assert line.endswith(f"2 files, 4.2 MB in {URL} (private)")
    dry = progress_line(numbered([started("upload"), listed(dry_run=True), DONE]), "completed")
    assert dry.endswith("nothing was sent (dry run)")


def test_the_record_has_it() -> None:
    told = numbered([started("upload"), listed(), UPLOADED, DONE])
    view = View(verb="upload", told=told, options={"path": "adapters"})
    bundle = mimebundle(view)
    assert f"uploaded  2 files, 4.2 MB in {URL} (private)" in bundle["text/plain"]
    assert "not sent: .env, <b>" in bundle["text/plain"]
    assert "<b>" not in bundle["text/html"]
    assert "model.safetensors" in bundle["text/html"]
    assert html_check.read(bundle["text/html"]).faults == []
