"""Events as lines, and the log that holds them."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from lora_nb.runs.event_lines import decode, encode
from lora_nb.runs.events import Event, Notice, Record
from lora_nb.runs.log import EventLog, Tail, read
from tests.unit.runs.kit import ended, loss, started

_VALUES: dict[str, Any] = {
    "str": 'ü🙂 "quoted"\n\u2028\r\x00',
    "int": 7,
    "int | None": 7,
    "float | None": 0.25,
    "float": 0.25,
    "bool": True,
    "dict[str, str]": {"a": "b"},
    "dict[str, int]": {"train": 3},
    "list[str]": ["ü", ""],
    "Literal['info', 'warning']": "warning",
    "Status": "stopped",
}


def filled(kind: type[Any], number: float) -> Any:
    values = {}
    for field in dataclasses.fields(kind):
        name = str(field.type).replace('"', "'")
        values[field.name] = number if name == "float" else _VALUES[name]
    return kind(**values)


@pytest.mark.parametrize("number", [0.25, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_comes_back_from_its_line(kind: type[Any], number: float) -> None:
    record = Record(3, 1764000000.5, filled(kind, number))
    line = encode(record)

    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    # NaN is not equal to itself, its text is.
    assert repr(decode(line)) == repr(record)
    assert type(decode(line).event) is kind


def test_fields_of_newer_versions_are_left_out_and_foreign_lines_refused() -> None:
    line = b'{"seq": 1, "time": 2.0, "type": "Notice", "level": "info", "message": "x", "new": 1}'
    assert decode(line) == Record(1, 2.0, Notice(level="info", message="x"))
    for wrong in (
        b"[]", b"{}", b"nonsense", b'{"type": "Unknown"}', b'{"type": "Notice"}', b"\xff\xfe",
        b'{"seq": 1, "time": 2.0, "type": "Notice", "level": "info"}',
        b'{"seq": 1, "time": 2.0, "type": "TestLoss", "loss": null}',
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            decode(wrong)


def test_numbers_go_on_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        assert [log.write(started()).seq, log.write(loss(1)).seq] == [1, 2]
    with EventLog(path) as log:
        assert log.write(loss(2), durable=True).seq == 3
    assert [record.seq for record in read(path)] == [1, 2, 3]


def test_a_torn_tail_is_held_back_and_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.write(started())
        log.write(loss(1))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 3, "time": 1.0, "ty')
    tail = Tail(path)

    assert [record.seq for record in tail.poll()] == [1, 2]
    with EventLog(path) as log:
        assert path.read_bytes() == whole
        assert log.write(loss(2)).seq == 3
    assert [record.event for record in tail.poll()] == [loss(2)]
    assert list(tail.poll()) == []


def test_a_tail_waits_for_the_end_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert list(tail.poll()) == []
    line = encode(Record(1, 1.0, loss(1)))
    with path.open("ab", buffering=0) as file:
        for part in (line[:5], line[5:-1]):
            file.write(part)
            assert list(tail.poll()) == []
        file.write(line[-1:])
    assert [record.seq for record in tail.poll()] == [1]


def test_lines_that_are_no_events_do_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.write(started())
    with path.open("ab") as file:
        file.write(b'{"seq": 2, "time": 1.0, "type": "FromTheFuture"}\n\x00\x00\n')
    with EventLog(path) as log:
        log.write(ended("completed"))
    assert [type(record.event).__name__ for record in read(path)] == ["Started", "Ended"]


def test_a_full_disk_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    real = os.write
    with EventLog(path) as log:
        log.write(started())
        monkeypatch.setattr(os, "write", lambda fd, line: real(fd, line[:9]))
        with pytest.raises(OSError, match=str(path)) as caught:
            log.write(loss(1))
        monkeypatch.undo()
        assert caught.value.errno == errno.ENOSPC
        assert log.write(loss(2)).seq == 2
    assert [record.event for record in read(path)] == [started(), loss(2)]
