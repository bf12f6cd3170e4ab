from __future__ import annotations

import pytest

from lora_nb.display import StreamView
from tests.unit.display.made import FakeKernel

XSS = "<script>alert(1)</script>"


def test_a_notebook_keeps_the_text_and_empties_the_stream(kernel: FakeKernel) -> None:
    view = StreamView(clock=lambda: 0.0)
    view.feed("", "Hello ")
    view.feed("", XSS)
    done = view.close({"tokens/s": "31.2"})
    placeholder, final = kernel.shown
    assert kernel.updates[-1] == placeholder
    assert final["text/plain"] == f"Hello {XSS}" == done.text == str(done) == repr(done)
    assert "white-space:pre-wrap" in final["text/html"]
    assert XSS not in final["text/html"]
    assert "31.2" not in str(final)
    assert done.stats == {"tokens/s": "31.2"}


def test_updates_keep_their_distance(kernel: FakeKernel) -> None:
    now = [0.0]
    view = StreamView(clock=lambda: now[0])
    for step in range(100):
        now[0] = step * 0.01
        view.feed("", "x")
    assert len(kernel.updates) == 5
    assert "x" in kernel.updates[0]["text/html"]
    assert {bundle["text/plain"] for bundle in kernel.updates} == {"<lora_nb text>"}


def test_several_labels_stand_side_by_side(kernel: FakeKernel) -> None:
    view = StreamView(["base", f"adapter {XSS}"])
    view.feed("base", f"a{XSS}")
    assert "adapter" in kernel.updates[0]["text/html"]
    view.feed(f"adapter {XSS}", "b")
    view.close()
    final = kernel.shown[-1]
    assert final["text/plain"] == f"base:\na{XSS}\n\nadapter {XSS}:\nb"
    assert final["text/html"].count("<td ") == 2
    assert XSS not in final["text/html"] + str(kernel.updates)


def test_the_result_can_show_itself_instead(kernel: FakeKernel) -> None:
    view = StreamView()
    view.feed("", "text")
    done = view.close(show=False)
    assert len(kernel.shown) == 1
    assert done._repr_mimebundle_(include=None, exclude=None)["text/plain"] == "text"


def test_no_text_at_all(kernel: FakeKernel) -> None:
    assert StreamView().close().text == ""
    assert len(kernel.shown) == 1


def test_a_terminal_gets_the_pieces_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    view = StreamView()
    view.feed("base", "Hel")
    assert capsys.readouterr().out == "Hel"
    view.feed("base", "lo\n\x1b[2Jyou")
    view.close({"tokens/s": "3"})
    assert capsys.readouterr().out == "lo\n\N{REPLACEMENT CHARACTER}[2Jyou\n"


def test_a_terminal_names_labels(capsys: pytest.CaptureFixture[str]) -> None:
    view = StreamView(["base", "adapter"])
    view.feed("base", "a")
    view.feed("adapter", "b")
    view.close()
    assert capsys.readouterr().out == "base:\na\n\nadapter:\nb\n"
