"""A report of rows alone: figures, findings, pages, and how they are shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import lora_nb
from lora_nb.dataset.report import DataReport
from lora_nb.errors import LoraError
from tests.unit.data_view.rows import HOSTILE, MESSY_ROWS
from tests.unit.data_view.test_view_mask_html import Page

_HARMLESS = {
    "div", "b", "br", "span", "code", "table", "thead", "tbody", "tr", "th", "td", "img"
}  # fmt: skip


@pytest.fixture
def report(messy: Path) -> DataReport:
    return lora_nb.data_report(messy)


def test_the_summary(report: DataReport) -> None:
    summary = report.summary
    assert summary.index.tolist() == ["train", "valid"]
    assert summary.index.name == "split"
    assert list(summary.columns) == [
        "rows", "looked_at", "formats", "keys",
        "characters_min", "characters_median", "characters_p95", "characters_max",
    ]  # fmt: skip
    assert list(summary.loc["train"]) == [
        9, 9, "completions, chat", "completion, prompt, messages, promt", 3, 18, 38, 38
    ]  # fmt: skip


def test_the_findings(report: DataReport) -> None:
    found = report.findings
    assert list(found.columns) == [
        "severity", "code", "split", "count", "where", "value", "message", "remedy"
    ]  # fmt: skip
    assert found["severity"].tolist() == ["error"] * 4 + ["warning"] * 2 + ["info"] * 2
    assert not report.ok
    first = found.iloc[0]
    assert (first["where"], first["code"]) == ("train.jsonl:3", "json")


def test_good_rows_are_ok(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(MESSY_ROWS[0]) + "\n")
    report = lora_nb.data_report(tmp_path, batch_size=1)
    assert report.ok
    assert "Nothing was found wrong." in str(report)
    assert report.findings.empty
    assert "severity" in report.findings


def test_pages(report: DataReport) -> None:
    page = report.page(1, 3)
    assert page["row"].tolist() == [1, 2, 3]
    assert page["where"].tolist() == ["train.jsonl:2", "train.jsonl:3", "train.jsonl:4"]
    assert page["prompt"].tolist()[::2] == ["Is it in both?", "How old is Bob?"]
    assert page["problem"][1].startswith("broken JSON at column 12")
    assert report.page(8, 5)["messages"].tolist() == [json.dumps(MESSY_ROWS[9]["messages"])]  # type: ignore[index]
    assert report.page(9, 5).empty
    assert report.page(99).empty
    assert len(report.head()) == 5
    assert report.head(1, "valid")["where"].tolist() == ["valid.jsonl:1"]
    with pytest.raises(LoraError, match=r"no split 'vaild'; .* Did you mean 'valid'"):
        report.page(split="vaild")


def test_a_search_goes_over_all_splits(report: DataReport) -> None:
    both = report.search("IN BOTH")
    assert both["where"].tolist() == ["train.jsonl:2", "valid.jsonl:1"]
    assert both["split"].tolist() == ["train", "valid"]
    assert report.search("in both", split="valid")["where"].tolist() == ["valid.jsonl:1"]
    assert report.search("in both", limit=1)["where"].tolist() == ["train.jsonl:2"]
    assert report.search("größe")["row"].tolist() == [6]
    assert report.search("never ended")["problem"].notna().all()
    missed = report.search("nowhere")
    assert missed.empty
    assert list(missed.columns) == ["split", "row", "where"]
    with pytest.raises(LoraError, match="the text is empty"):
        report.search("")


def test_keys_like_our_columns_do_not_hide_them(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "x", "row": 5, "where": "here"}\n')
    page = lora_nb.data_report(tmp_path).page()
    assert page.iloc[0].to_dict() == {
        "split": "train", "row": 0, "where": "train.jsonl:1",
        "text": "x", "row (key)": "5", "where (key)": "here",
    }  # fmt: skip


def test_a_mask_needs_a_model(report: DataReport) -> None:
    with pytest.raises(LoraError, match=r"need a tokenizer: name a model \(--model\)"):
        report.row(0)


def test_the_text_is_the_same_each_time(report: DataReport, messy: Path) -> None:
    text = str(report)
    assert text == repr(report) == str(lora_nb.data_report(messy))
    with pd.option_context("display.precision", 1, "display.width", 20, "display.max_rows", 1):
        assert str(lora_nb.data_report(messy)) == text
    assert text.startswith(f"<lora_nb data {messy}>\n")
    assert "Findings: 4 errors, 2 warnings, 2 info." in text
    assert "✖ error train.jsonl:7: 'prompt' is null. (None) Give it a value" in text
    assert re.search(r"^split +rows +formats +keys +characters: min", text, re.MULTILINE)
    assert re.search(r"^train +9 +completions 4, chat 2 ", text, re.MULTILINE)
    assert "train.jsonl:1  How old is Bob?" in text
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)


def test_the_page_has_findings_first_and_a_picture_with_words(report: DataReport) -> None:
    bundle = report._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    page = Page(bundle["text/html"])
    shown = "".join(page.texts)
    assert shown.index("✖ error") < shown.index("▲ warning") < shown.index("i info")
    assert shown.index("i info") < shown.index("The rows in figures") < shown.index("The first")
    (picture,) = [attrs for tag, attrs in page.elements if tag == "img"]
    assert picture["alt"] == report.alt_text
    assert (picture["src"] or "").startswith("data:image/png;base64,iVBOR")
    assert bundle["text/html"] == report._repr_mimebundle_()["text/html"]


def test_nothing_of_hostile_rows_becomes_html(hostile: Path, tmp_path: Path) -> None:
    named = tmp_path / "<b onclick=x>&"
    hostile.rename(named)
    report = lora_nb.data_report(named)
    page = Page(report.html())
    assert {tag for tag, _ in page.elements} <= _HARMLESS
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert attributes <= {"class", "style", "src", "alt", "width", "height"}
    shown = "".join(page.texts)
    assert HOSTILE in shown
    assert "<b onclick=x>&" in shown
    assert "\x1b" not in str(report)


def test_control_characters_cannot_steer_a_terminal(tmp_path: Path) -> None:
    row = {"prompt": "\x1b[2J\u202egone", "comple\x1btion": "x"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    report = lora_nb.data_report(tmp_path)
    for text in (str(report), report.html()):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_many_kinds_of_findings_are_counted_not_all_listed() -> None:
    from lora_nb.data.findings import Finding
    from lora_nb.display.data_record import DataRecord, Table, html_of, text_of

    many = [Finding("warning", f"c{i}", 2, "a:1", "", f"m{i}.", "r.") for i in range(50)]
    record = DataRecord(title="t", about=[], findings=many, summary=Table(["a"], [["1"]]))
    for text in (text_of(record), html_of(record, None)):
        assert "… and 10 further kinds; .findings has all of them." in text
        assert "m39." in text
        assert "m40." not in text
    assert "Findings: 100 warnings." in text_of(record)
