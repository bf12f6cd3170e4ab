"""Hostile texts in every displayed field: what comes out has the tags that harmless ones give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_nb.data.findings import Finding
from lora_nb.data.masks import MaskedRow, State, Token
from lora_nb.display import card, figure, picture, progress
from lora_nb.display.data_record import DataRecord, Picture, Table, html_of
from lora_nb.display.generation import bundle_of
from lora_nb.display.mask_view import MaskView
from lora_nb.display.record import mimebundle
from lora_nb.display.tables import RunSummary, html_table, runs_frame
from lora_nb.display.visible import visible_html
from lora_nb.environment_report.report import Check, Report
from lora_nb.runs.events import Ended, Event, ModelReady, Notice, Sample
from lora_nb.runs.export_events import ModelSaved
from tests.html_check import Page, read
from tests.unit.display.made import View, data, ended, model, numbered, started, train, valid

XSS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src='//evil.example/pixel.png'>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '" style="background:url(//evil.example)',
    "` onload=`alert(1)",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x>",
    "<math><mtext></table></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<form action=//evil.example><input name=x></form>",
    "<button data-commandlinker-command='terminal:create-new'>x</button>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<input onfocus=alert(1) autofocus>",
    "<body onload=alert(1)>",
    "<style>*{display:none}</style>",
    "<style>@import '//evil.example/x.css';</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--<img src='--><img src=x onerror=alert(1)>'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<!DOCTYPE html><script>alert(1)</script>",
    "</pre><script>alert(1)</script><pre>",
    "</td></tr></tbody></table><script>alert(1)</script>",
    "</div></div></div><img src=x onerror=alert(1)>",
    "</title></textarea></style></script><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&amp;lt;script&amp;gt;",
    "\u003cscript\u003ealert(1)\u003c/script\u003e",
    "<img src=x onerror=alert(1)//",
    "<script>alert(1)//",
    "<\x00script>alert(1)</script>",
    "<img\x0bsrc=x\x0conerror=alert(1)>",
    "<\u202escript>alert(1)</script>",
    "\ufeff<script>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",  # noqa: RUF001 (wide brackets, which some code narrows)
    "$\\href{javascript:alert(1)}{x}$",
    "$$\\unicode{<img src=x onerror=alert(1)>}$$",
    "[x](javascript:alert(1)) ![x](//evil.example/pixel.png)",
    "{{ ''.__class__ }} ${alert(1)} {% raw %} <%= 1 %>",
    "javascript:alert(1)",
    "\x1b]8;;javascript:alert(1)\x07x\x1b]8;;\x07",
    "<x" + "<b>" * 50,
]
HARMLESS = "harmless"

Field = Callable[[str], str]


def record_with(view: View) -> str:
    html: str = mimebundle(view)["text/html"]
    return html


def of_events(*events: Event, status: str = "completed", verb: str = "train") -> View:
    told = numbered([started(), model(), data(), train(1, 2.0), valid(1, 1.9), *events])
    return View(told=told, status=status, verb=verb)


def ready(name: str) -> Event:
    return ModelReady(model=name, family=name, parameters=9, trainable=1, bits=16, seconds=1)


def model_saved(text: str) -> Event:
    return ModelSaved(path=text, bits=4.5, size=10**6, dtype=text)


def finding(text: str) -> Finding:
    return Finding(
        "error", text, 9, text, text, text, text, lines=(f"{text}: {text}",) * 3, split=text
    )


def data_record(title: str = "x", text: str = "x", alt: str = "x") -> str:
    table = Table((text, "rows"), ((text, "9"), ("b", text)))
    record = DataRecord(
        title=title,
        about=[(text, text)],
        findings=[finding(text)],
        summary=table,
        head=table,
    )
    return html_of(record, Picture("aGk=", 9, 9, alt))


def mask(text: str, title: str = "x", note: str = "") -> str:
    states: tuple[State, ...] = ("trained", "masked", "cut")
    tokens = tuple(
        Token(n, text, state, special)
        for n, (state, special) in enumerate((s, b) for s in states for b in (True, False))
    )
    row = MaskedRow(
        where=title,
        kind="text",
        target="all",
        template="model",
        limit=4,
        tokens=tokens,
        starts=(2,),
        note=note,
    )
    return MaskView(row, title).html()


def frame(text: str) -> str:
    summary = RunSummary(run=text, verb=text, status=text, model=text, data=text, adapter_path=text)
    html = str(runs_frame([summary])._repr_html_())  # type: ignore[operator]
    # pandas puts its own rules before the table.
    start = html.index("<style scoped>")
    return html[:start] + html[html.index("</style>") + len("</style>") :]


def doctor(text: str) -> str:
    return Report((Check(text, text, False, text), Check("b", text)))._repr_html_()


def failed(text: str) -> View:
    return of_events(Ended(status="failed", message=text), status="failed")


FIELDS: dict[str, Field] = {
    "a run's name": lambda t: record_with(View(name=t)),
    "a run's folder": lambda t: record_with(View(path=Path("runs") / t.replace("\0", ""))),
    "the folder of a crash": lambda t: record_with(
        View(path=Path(t.replace("\0", "")), status="crashed", told=numbered([started()]))
    ),
    "model and data": lambda t: record_with(View(options={"model": t, "data": t})),
    "the model that was loaded": lambda t: record_with(of_events(ready(t))),
    "an adapter's path": lambda t: record_with(of_events(ended(adapter=t))),
    "why it failed": lambda t: record_with(failed(t)),
    "a warning": lambda t: record_with(of_events(Notice(level="warning", message=t))),
    "a sample": lambda t: record_with(of_events(Sample(step=1, prompt=t, text=t))),
    "a converted model": lambda t: record_with(of_events(model_saved(t), verb="convert")),
    "a status and verb": lambda t: record_with(View(status=t, verb=t)),
    "generated text": lambda t: bundle_of({"": t})["text/html"],
    "generated texts and labels": lambda t: bundle_of({t: t, "b": t})["text/html"],
    "a data record's title": lambda t: data_record(title=t),
    "a data record's texts": lambda t: data_record(text=t),
    "a picture's alt text": lambda t: data_record(alt=t),
    "a token": mask,
    "a row's title": lambda t: mask("x", title=t),
    "a row's note": lambda t: mask("x", note=t),
    "visible text": visible_html,
    "a table": lambda t: html_table([(t, t)], (t, t), t),
    "the table of runs": frame,
    "the doctor's report": doctor,
}


def plainly(text: str) -> str:
    """Text by which it is found again whatever was done to its control characters."""
    return "".join(char for char in text if char.isprintable() and not char.isspace())[:20]


@functools.cache
def harmless(name: str) -> Page:
    return read(FIELDS[name](HARMLESS))


def test_there_are_enough_of_them() -> None:
    assert len(set(XSS)) >= 60
    assert len(FIELDS) >= 20


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time, and pictures run no code."""
    monkeypatch.setattr("lora_nb.display.record.png", lambda *_: b"picture")


@pytest.mark.parametrize("name", FIELDS)
def test_a_field(name: str) -> None:
    assert harmless(name).faults == []
    for text in XSS:
        html = FIELDS[name](text)
        page = read(html)
        assert page.faults == [], f"{name}: {text!r}"
        if name != "visible text" and name != "a token":
            assert page.tags == harmless(name).tags, f"{name}: {text!r}"
        assert "<script" not in html.lower()
        assert "<button" not in html.lower()


@pytest.mark.parametrize("name", ["model and data", "why it failed", "generated text", "a table"])
def test_the_text_itself_can_be_read(name: str) -> None:
    for text in XSS:
        page = read(FIELDS[name](text))
        told = "".join(char for char in page.text if char.isprintable() and not char.isspace())
        assert plainly(text) in told.replace("\ufffd", ""), (name, text)


@pytest.mark.parametrize("text", XSS)
def test_terminals_are_not_steered(text: str) -> None:
    view = failed(text)
    bundle = mimebundle(view)
    line = progress.progress_line(view.records(), "failed")
    for shown in (bundle["text/plain"], line):
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\0" not in shown


def test_pictures_draw_hostile_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dollars and backslashes are formulas to matplotlib, if it is let."""
    from lora_nb.display.state import state_of

    for text in XSS[-8:]:
        state = state_of(failed(text).records())
        for drawn in (
            figure.draw(state, title=text, lines=[text]),
            card.draw_card(state, title=text, lines=[text]),
        ):
            assert picture.png(drawn).startswith(b"\x89PNG")
