from __future__ import annotations

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from lora_nb.display import RunSummary, escape, html_table, mimebundle, runs_frame, summary_of
from lora_nb.runs.events import Ended, Notice
from lora_nb.runs.events import TestLoss as OnTestRows
from tests.unit.display.made import (
    View,
    data,
    ended,
    finished,
    losses,
    model,
    numbered,
    started,
    train,
)

XSS = """<script>alert(1)</script><img src=x onerror='a("b")'>&"""


class Tags(HTMLParser):
    """Every tag and attribute of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


def hostile() -> View:
    events = [
        started(),
        model(XSS),
        data(),
        Notice(level="warning", message=XSS),
        *losses(20, 10),
        Ended(status="failed", message=XSS, step=20, seconds=1, adapter_path=XSS),
    ]
    return View(
        name=XSS, verb=XSS, status=XSS, told=numbered(events), options={"model": XSS, "data": XSS}
    )


def test_text_is_short_and_holds_no_times() -> None:
    assert mimebundle(View())["text/plain"] == (
        "<lora_nb run>\n"
        "  run         20260101-120000-demo\n"
        "  status      train, completed\n"
        "  model       demo\n"
        "  data        demo\n"
        "  steps       300\n"
        "  train loss  0.200\n"
        "  valid loss  0.034 (best 0.031 at step 250)\n"
        "  adapter     adapters"
    )


def test_html_has_the_table_the_picture_and_the_way_back() -> None:
    html = mimebundle(View())["text/html"]
    tags = Tags(html)
    assert "%lora_attach 20260101-120000-demo" in tags.words
    assert "0.034 (best 0.031 at step 250)" in tags.words
    assert tags.tags.count("img") == 1
    assert 'alt="Loss over steps: training loss from' in html
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">')
    assert "0:41" not in tags.words
    assert "tok/s" not in tags.words


def test_nothing_in_it_is_active_or_fixed_to_one_theme() -> None:
    bundle = mimebundle(hostile())
    tags = Tags(bundle["text/html"])
    assert set(tags.tags) <= {"div", "table", "tbody", "tr", "td", "img", "code"}
    assert tags.tags.count("img") == 1
    assert tags.attributes <= {"class", "style", "src", "alt", "width", "height"}
    assert set(re.findall(r"(?<![-\w])color:([^;]+);", bundle["text/html"])) == {"inherit"}
    assert set(re.findall(r"background:([^;]+);", bundle["text/html"])) == {"transparent"}
    assert XSS in tags.words
    assert XSS not in bundle["text/html"]


def test_equal_runs_with_other_times_have_equal_texts() -> None:
    def with_times(seconds: float) -> View:
        return View(told=[replace(record, time=seconds) for record in finished()])

    first, second = mimebundle(with_times(1.0)), mimebundle(with_times(2.0))
    assert first["text/plain"] == second["text/plain"]
    assert first["text/html"] == second["text/html"]


def test_a_crashed_run_names_its_log() -> None:
    view = View(status="crashed", told=numbered([started(), *losses(20, 10)]))
    text = mimebundle(view)["text/plain"]
    assert "runs/20260101-120000-demo/worker.log" in text
    assert "steps       20 of 300" in text


def test_a_test_run() -> None:
    tested = OnTestRows(loss=0.5, perplexity=1.6487, rows=9, tokens=99, seconds=2)
    view = View(verb="test", told=numbered([started("test"), tested, ended(0, adapter="")]))
    bundle = mimebundle(view)
    assert "test loss  0.500 (perplexity 1.649)" in bundle["text/plain"]
    assert "A run without a loss curve: test loss 0.500." in bundle["text/html"]


def test_a_run_without_events() -> None:
    assert "train, starting" in mimebundle(View(status="starting", told=[]))["text/plain"]


def test_escape_is_safe_in_attributes() -> None:
    assert escape("<a href=\"x\" b='y'>&") == "&lt;a href=&quot;x&quot; b=&#x27;y&#x27;&gt;&amp;"
    assert escape(None) == "None"


def test_html_table_escapes_every_part() -> None:
    html = html_table([[XSS, 1]], [XSS, "n"], XSS)
    assert set(Tags(html).tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert Tags(html).words.count(XSS) == 3


def test_summary() -> None:
    row = summary_of(View())
    assert row.run == "20260101-120000-demo"
    assert (row.steps, row.best_valid, row.valid_loss) == (300, 0.031, 0.034)
    assert row.train_loss == pytest.approx(0.1996, abs=1e-4)
    assert (row.seconds, row.adapter_path, row.started) == (41, "adapters", 1.7e9 + 1)
    running = summary_of(View(status="running", told=numbered([train(31, 0.5)])))
    assert running.seconds == 1
    assert running.adapter_path == ""


def test_runs_are_listed_newest_first() -> None:
    def run(name: str, started: float | None) -> RunSummary:
        return RunSummary(run=name, verb="train", status="running", started=started, steps=3)

    frame = runs_frame([run("old", 1.7e9), run("none", None), run("new", 1.8e9)])
    assert list(frame["run"]) == ["new", "old", "none"]
    assert list(frame.columns) == [field.name for field in fields(RunSummary)]
    assert str(frame["started"].dtype).startswith("datetime64")
    assert str(frame["steps"].dtype) == "Int64"
    assert frame["train_loss"].isna().all()


def test_no_runs_make_an_empty_frame() -> None:
    frame = runs_frame([])
    assert frame.empty
    assert "run" in frame.columns


def test_frames_show_foreign_text_escaped() -> None:
    assert "<script>" not in runs_frame([summary_of(hostile())]).to_html()
