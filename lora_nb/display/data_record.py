"""What a notebook keeps of a look at data: findings, figures, a picture, the first rows.

Static and escaped; nothing in it depends on when or how fast it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lora_nb.data.findings import Finding
from lora_nb.display.tables import escape, wrapper
from lora_nb.display.text_table import is_number, text_table
from lora_nb.display.words import plain

__all__ = ["DataRecord", "Fixed", "Picture", "Table", "html_of", "text_of"]

_LINE = "margin:2px 0;color:inherit;"
_HEAD = "margin:10px 0 2px 0;color:inherit;font-weight:bold;"
_TABLE = (
    "border-collapse:collapse;margin:2px 0;background:transparent;color:inherit;border:0;"
    "font-size:inherit;"
)
_CELL = (
    "padding:3px 14px 3px 0;vertical-align:top;background:transparent;color:inherit;border:0;"
    "border-bottom:1px solid rgba(128,128,128,0.35);font-size:inherit;"
)
_WORDS = "text-align:left;white-space:normal;overflow-wrap:break-word;"
_NAME = "text-align:left;white-space:nowrap;"
_NUMBER = "text-align:right;white-space:nowrap;"
_ROW = "background:transparent;color:inherit;"
_CODE = "color:inherit;background-color:rgba(128,128,128,0.15);padding:0 3px;"
# Words on their own ground, so that they can be read on light and dark pages alike.
_SEVERITY = {
    "error": ("✖ error", "#b3261e"),
    "warning": ("▲ warning", "#8a5a00"),
    "info": ("i info", "#3d5a73"),
}
_FURTHER = 3
_SHOWN_FINDINGS = 40


@dataclass(frozen=True)
class Table:
    """Cells as texts under the names of their columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG as base64 text, its size in CSS pixels, and what it shows."""

    png: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Fixed:
    """What a cleaned copy has not taken over: where it is, a table, and the same as lines."""

    headline: str
    table: Table
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """All that is shown: `about` is (name, value), `head` the first rows."""

    title: str
    about: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    summary: Table
    head: Table = field(default_factory=lambda: Table((), ()))
    fixed: Fixed | None = None


def text_of(record: DataRecord) -> str:
    """The record as plain text."""
    room = max((len(name) for name, _ in record.about), default=0)
    lines = [f"<lora_nb data {plain(record.title)}>"]
    lines += [f"  {name:<{room}}  {plain(value)}" for name, value in record.about]
    if record.fixed:
        lines += ["", plain(record.fixed.headline)]
        lines += [f"  {plain(line)}" for line in record.fixed.lines]
    lines += ["", _summed_up(record.findings)]
    lines += [f"  {_finding_text(each)}" for each in record.findings[:_SHOWN_FINDINGS]]
    lines += [f"  {note}" for note in _not_shown(record.findings)]
    lines += ["", text_table(record.summary.columns, record.summary.rows)]
    if record.head.rows:
        lines += ["", text_table(record.head.columns, record.head.rows)]
    return "\n".join(lines)


def html_of(record: DataRecord, picture: Picture | None) -> str:
    """The record as HTML, findings first; without a picture if it is shown elsewhere."""
    about = " · ".join(f"{escape(name)}: {escape(plain(value))}" for name, value in record.about)
    head = []
    if record.head.rows:
        head = [f'<div style="{_HEAD}">The first rows</div>', _table(record.head)]
    return wrapper(
        f'<div style="{_LINE}"><b>{escape(plain(record.title))}</b> · {about}</div>',
        *_fixed(record.fixed),
        f'<div style="{_HEAD}">{escape(_summed_up(record.findings))}</div>',
        _findings(record.findings),
        f'<div style="{_HEAD}">The rows in figures</div>',
        _table(record.summary),
        _image(picture) if picture else "",
        *head,
    )


def _fixed(fixed: Fixed | None) -> list[str]:
    if fixed is None:
        return []
    head = f'<div style="{_HEAD}">{escape(plain(fixed.headline))}</div>'
    if fixed.table.rows:
        return [head, _table(fixed.table)]
    return [head, *(f'<div style="{_LINE}">{escape(plain(line))}</div>' for line in fixed.lines)]


def _summed_up(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Nothing was found wrong."
    kinds = []
    for severity in _SEVERITY:
        count = sum(finding.count for finding in findings if finding.severity == severity)
        if severity == "info":
            count = sum(finding.severity == "info" for finding in findings)
        if count:
            kinds.append(f"{count:,} {severity}{'' if count == 1 or severity == 'info' else 's'}")
    return f"Findings: {', '.join(kinds)}."


def _not_shown(findings: Sequence[Finding]) -> list[str]:
    more = len(findings) - _SHOWN_FINDINGS
    return [f"… and {more} further kinds; .findings has all of them."] if more > 0 else []


def _finding_text(finding: Finding) -> str:
    severity = _SEVERITY[finding.severity][0]
    times = f" {finding.count:,} times" if finding.count > 1 else ""
    place = f" {finding.where}:" if finding.where else ""
    value = f" ({finding.value})" if finding.value else ""
    also = f" Also {', '.join(further)}." if (further := _further(finding)) else ""
    return plain(f"{severity}{times}{place} {finding.message}{value} {finding.remedy}{also}")


def _further(finding: Finding) -> list[str]:
    """A few more places of the same fault."""
    places = []
    for line in finding.lines[1 : 1 + _FURTHER]:
        place, colon, _ = line.partition(": ")
        if colon:
            places.append(place)
    if places and finding.count > 1 + len(places):
        places.append("…")
    return places


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = "".join(_finding_row(each) for each in findings[:_SHOWN_FINDINGS])
    notes = "".join(f'<div style="{_LINE}">{escape(note)}</div>' for note in _not_shown(findings))
    return f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>{notes}'


def _finding_row(finding: Finding) -> str:
    word, ground = _SEVERITY[finding.severity]
    badge = (
        f'<b style="background-color:{ground};color:#ffffff;padding:1px 7px;border-radius:3px;'
        f'white-space:nowrap;">{word}</b>'
    )
    times = f"{finding.count:,} times" if finding.count > 1 else ""
    value = f' <code style="{_CODE}">{escape(plain(finding.value))}</code>' if finding.value else ""
    also = f" Also {', '.join(further)}." if (further := _further(finding)) else ""
    text = (
        f"{escape(plain(finding.message))}{value}<br>"
        f'<span style="opacity:0.8;">{escape(plain(finding.remedy + also))}</span>'
    )
    cells = (badge, escape(times), f"<b>{escape(plain(finding.where))}</b>", text)
    looks = (_NAME, _NUMBER, _NAME, _WORDS)
    inner = "".join(
        f'<td style="{_CELL}{look}">{cell}</td>' for cell, look in zip(cells, looks, strict=True)
    )
    return f'<tr style="{_ROW}">{inner}</tr>'


def _table(table: Table) -> str:
    right = [
        all(is_number(row[place]) for row in table.rows) for place in range(len(table.columns))
    ]
    head = _table_row("th", table.columns, right)
    body = "".join(_table_row("td", row, right) for row in table.rows)
    return (
        f'<div style="overflow-x:auto;"><table style="{_TABLE}"><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _table_row(tag: str, cells: Sequence[str], right: Sequence[bool]) -> str:
    inner = "".join(
        f'<{tag} style="{_CELL}{_NUMBER if to_right else _WORDS}">{escape(plain(cell))}</{tag}>'
        for cell, to_right in zip(cells, right, strict=True)
    )
    return f'<tr style="{_ROW}">{inner}</tr>'


def _image(picture: Picture) -> str:
    return (
        f'<img src="data:image/png;base64,{picture.png}" alt="{escape(picture.alt)}" '
        f'width="{picture.width}" height="{picture.height}" '
        'style="max-width:100%;height:auto;margin:8px 0;">'
    )
