from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_nb.data import jsonl
from lora_nb.data.jsonl import JsonlRows
from lora_nb.errors import LoraError
from tests.unit.data.kit import write


def test_rows_are_parsed_in_order(tmp_path: Path) -> None:
    rows = JsonlRows(write(tmp_path, "train.jsonl", '{"a": 1}', '{"a": "日本"}'), "train")
    assert list(rows) == [{"a": 1}, {"a": "日本"}]
    assert (rows.name, len(rows)) == ("train", 2)
    assert rows[-1] == {"a": "日本"}
    assert rows[0:1] == [{"a": 1}]
    with pytest.raises(IndexError, match="train has 2 rows, there is no row 2"):
        rows[2]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1}\n{"a":2}\n',
        b'{"a":1}\n{"a":2}',
        b'\xef\xbb\xbf{"a":1}\r\n{"a":2}\r\n',
        b'{"a":1}\n\n\n{"a":2}\n\n\n',
        b'\n \n{"a":1}\n\t\r\n{"a":2}\n   ',
        b'{"a":1}\n\xef\xbb\xbf{"a":2}\n',
        b'{"a":1}\n' + b" " * 200 + b'\n{"a":2}\n',
    ],
)
def test_blank_lines_bom_and_line_ends_do_not_matter(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(raw)
    assert [row["a"] for row in JsonlRows(path, "train")] == [1, 2]


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "train.jsonl", "", "  ", '{"a": 1}', "", '{"a": 2}', "nonsense")
    rows = JsonlRows(path, "train")
    assert [rows.where(i) for i in range(3)] == ["train.jsonl:3", "train.jsonl:5", "train.jsonl:6"]
    with pytest.raises(LoraError, match=r"^train\.jsonl:6: broken JSON at column 1"):
        rows[2]


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \r\n\t\n"])
def test_a_file_without_rows_is_empty(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(raw)
    assert len(JsonlRows(path, "train")) == 0


LINES = st.lists(
    st.sampled_from(
        [b"", b" ", b"\t ", b"\r", b'{"a":1}', b' {"b": "x\\n"} ', b'{"c": 1}\r', b"{"]
    ),
    max_size=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, ended=st.booleans(), bom=st.booleans(), block=st.integers(1, 20))
def test_the_index_agrees_with_splitting_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[bytes],
    ended: bool,
    bom: bool,
    block: int,
) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK", block)
    path = tmp_path / "x.jsonl"
    body = b"\n".join(lines) + (b"\n" if ended else b"")
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + body)
    rows = JsonlRows(path, "train")
    expected = [(n, line) for n, line in enumerate(body.split(b"\n"), 1) if line.strip(b" \t\r")]
    assert [(rows.where(i), rows.raw(i)) for i in range(len(rows))] == [
        (f"x.jsonl:{n}", line) for n, line in expected
    ]


def test_the_locale_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda *a: "ascii")
    rows = JsonlRows(write(tmp_path, "x.jsonl", '{"a": "größe 🙂"}'), "train")
    assert rows[0] == {"a": "größe 🙂"}


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    one = JsonlRows(write(tmp_path, "a.jsonl", '{"a": 1}'), "train").fingerprint()
    same = JsonlRows(write(tmp_path, "b.jsonl", '{"a": 1}'), "valid").fingerprint()
    other = JsonlRows(write(tmp_path, "c.jsonl", '{"a": 2}'), "train").fingerprint()
    assert one == same != other
    assert len(one) == 64


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('{"a": 1}\n'.encode("utf-16"))
    with pytest.raises(LoraError, match=r"is UTF-16 text\. Save it again as UTF-8"):
        JsonlRows(path, "train")


def test_a_missing_file_is_a_lora_error(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="cannot be read"):
        JsonlRows(tmp_path / "no.jsonl", "train")


def test_a_file_cut_short_under_us_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", '{"a": 1}', '{"a": 22222}')
    rows = JsonlRows(path, "train")
    os.truncate(path, 14)
    assert rows[0] == {"a": 1}
    with pytest.raises(LoraError, match=r"x\.jsonl:2: the file was changed while"):
        rows[1]


def test_a_replaced_file_keeps_its_old_content(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", '{"a": 1}')
    rows = JsonlRows(path, "train")
    write(tmp_path, "new.jsonl", '{"a": 2}').replace(path)
    assert rows[0] == {"a": 1}


def test_files_are_closed(tmp_path: Path) -> None:
    rows: Any = JsonlRows(write(tmp_path, "x.jsonl", '{"a": 1}'), "train")
    fd = rows._fd
    del rows
    gc.collect()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_deep_nesting_and_huge_numbers_are_row_faults(tmp_path: Path) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    huge = '{"a": ' + "9" * 5000 + "}"
    rows = JsonlRows(write(tmp_path, "x.jsonl", deep, huge), "train")
    with pytest.raises(LoraError, match=r"x\.jsonl:1: the JSON is nested too deeply"):
        rows[0]
    with pytest.raises(LoraError, match=r"x\.jsonl:2: broken JSON: "):
        rows[1]


def test_many_rows_are_indexed_fast(tmp_path: Path) -> None:
    import time

    line = json.dumps({"text": "x" * 90}) + "\n"
    path = tmp_path / "x.jsonl"
    path.write_text(line * 300_000)
    started = time.perf_counter()
    rows = JsonlRows(path, "train")
    assert len(rows) == 300_000
    assert time.perf_counter() - started < 2  # 0.07 s on an idle core
