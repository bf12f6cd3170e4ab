"""Bad files through the command: one message with file and line each, or a stated acceptance."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from lora_nb import console
from lora_nb.config import TrainConfig
from lora_nb.runs import attach, launch
from lora_nb.runs.events import Ended
from tests.unit.data.test_data_bad_rows import BAD, GOOD

Files = dict[str, tuple[bytes, str]]

# What is in train.jsonl, and what is said of it.
LINES: Files = {
    case: (
        b"\n".join([GOOD.encode(), b"", line if isinstance(line, bytes) else line.encode(), b""]),
        f"train.jsonl:3: {message}",
    )
    for case, (line, _, message) in BAD.items()
}
WHOLE: Files = {
    "nothing": (b"", "train: there are no rows."),
    "blank lines": (b"\n \r\n\t\n", "train: there are no rows."),
    "a byte order mark alone": (b"\xef\xbb\xbf", "train: there are no rows."),
    "UTF-16": (GOOD.encode("utf-16"), "train.jsonl: is UTF-16 text. Save it again as UTF-8."),
    "UTF-16, big end first": (
        b"\xfe\xff" + GOOD.encode("utf-16-be"), "train.jsonl: is UTF-16 text.",
    ),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "train.jsonl:1: broken JSON at column 2"),
    "compressed": (gzip.compress(GOOD.encode(), mtime=0), "train.jsonl:1: byte 2 of the line"),
    "a PNG": (b"\x89PNG\r\n\x1a\n\0\0\0", "train.jsonl:1: byte 1 of the line (0x89) is not"),
    "a table": (b"prompt,completion\na,b\n", "train.jsonl:1: broken JSON at column 1"),
    "Markdown": (b"# Rows\n\n- a\n", "train.jsonl:1: broken JSON at column 1"),
    "HTML": (b"<html><script>x</script></html>", "train.jsonl:1: broken JSON at column 1"),
    "YAML": (b"text: a\n", "train.jsonl:1: broken JSON at column 1"),
    "zeros": (b"\0" * 5000, "train.jsonl:1: broken JSON at column 1"),
    "a pretty array": (
        json.dumps([{"text": "a"}], indent=1).encode(),
        "train.jsonl:1: broken JSON at column 2: the array goes on over more lines.",
    ),
    "old Macintosh lines": (
        b'{"text": "a"}\r{"text": "b"}\r',
        "train.jsonl:1: broken JSON at column 15: extra data. Put each object on a line of its own",
    ),
    "cut off at its end": (
        f'{GOOD}\n{{"text": "gr'.encode(), "train.jsonl:2: broken JSON at column 10: unterminated"
    ),
    "cut within a character": (
        f'{GOOD}\n{{"text": "ü'.encode()[:-1], "train.jsonl:2: byte 11 of the line (0xc3) is not",
    ),
    "brackets without end": (b"[" * 200_000, "train.jsonl:1: the JSON is nested too deeply."),
    "objects without end": (
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "train.jsonl:1: the JSON is nested too deeply."
    ),
    "a number without end": (
        b'{"text": ' + b"9" * 50_000 + b"}", "train.jsonl:1: broken JSON: "
    ),
    "one long line that breaks": (
        b'{"text": "' + b"x" * 5_000_000, "train.jsonl:1: broken JSON at column 10"
    ),
    "a log in between": (
        f"{GOOD}\nWARNING: retrying\n{GOOD}\n".encode(), "train.jsonl:2: broken JSON at column 1"
    ),
    "a merge in between": (
        f"{GOOD}\n<<<<<<< HEAD\n{GOOD}\n".encode(), "train.jsonl:2: broken JSON at column 1"
    ),
    "a comment": (f"// rows\n{GOOD}\n".encode(), "train.jsonl:1: broken JSON at column 1"),
    "numbers that are none": (b'{"text": NaN}\n', "train.jsonl:1: 'text' is a number, not a text."),
}  # fmt: skip
# Files that are read as they are meant, and how many rows they have.
ACCEPTED: dict[str, tuple[bytes, int]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD.encode() + b"\n", 1),
    "a mark on every line": (b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}".replace(b"{}", GOOD.encode()), 2),
    "lines of Windows": (f"{GOOD}\r\n\r\n{GOOD}\r\n".encode(), 2),
    "no end of the last line": (f"{GOOD}\n{GOOD}".encode(), 2),
    "blanks around": (f"  {GOOD}\t\n".encode(), 1),
    "other line separators inside": ('{"text": "a\u2028b\u0085c"}\n'.encode(), 1),
    "keys more than wanted": (b'{"text": "a", "id": NaN, "meta": {"deep": [null]}}\n', 1),
    "a key twice, the last counts": (b'{"text": 1, "text": "a"}\n', 1),
}
CASES: Files = {**LINES, **WHOLE}


def look(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The status of the command and all that it says."""
    status = console.main(["data", str(folder)])
    out, err = capsys.readouterr()
    return status, out + err


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 80
    assert len(CASES) == len(LINES) + len(WHOLE)


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, message = CASES[case]
    (tmp_path / "train.jsonl").write_bytes(body)
    status, said = look(tmp_path, capsys)
    assert "Traceback" not in said
    if status:
        assert message in said
        assert said.count("\n") == 1
        return
    # A report shows the value in between the message and its remedy.
    shown = said.replace("\n", " ")
    start = message[: message.find(". ") + 1] if ". " in message else message
    assert (
        f"✖ error {start}" in shown or f" times {start}" in shown or f"▲ warning {start}" in shown
    )


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_odd_file_that_is_read(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, count = ACCEPTED[case]
    (tmp_path / "train.jsonl").write_bytes(body)
    status, said = look(tmp_path, capsys)
    assert status == 0
    assert "✖" not in said
    assert f"\ntrain     {count}  text " in said


@pytest.mark.parametrize(("kind", "message"), [
    ("folder", "has none of train.jsonl, valid.jsonl and test.jsonl"),
    ("link", "has none of train.jsonl, valid.jsonl and test.jsonl"),
    ("pipe", "has none of train.jsonl, valid.jsonl and test.jsonl"),
    ("loop", "has none of train.jsonl, valid.jsonl and test.jsonl"),
])  # fmt: skip
def test_what_is_no_file(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else tmp_path / "nowhere")
    status, said = look(tmp_path, capsys)
    assert status == 1
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["rows.json", "rows.csv", "rows.jsonl.gz", "rows.parquet"])
def test_other_kinds_of_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"x")
    status, said = look(tmp_path / name, capsys)
    assert status == 1
    assert f"{name}' is not a .jsonl file. Give a folder with train.jsonl" in said


def test_all_of_them_stop_a_training_with_their_places(model: Path, tmp_path: Path) -> None:
    lines = [body.split(b"\n")[2] for body, _ in LINES.values()]
    (tmp_path / "train.jsonl").write_bytes(b"\n".join(lines))
    run = launch.start(TrainConfig(model=str(model), data=str(tmp_path), iters=1))
    (end,) = [r.event for r in attach.follow(run, timeout=120) if isinstance(r.event, Ended)]
    assert end.status == "failed"
    assert end.message.startswith(f"The data has {len(LINES)} problems:\n  - train.jsonl:")
    assert end.message.endswith(f"… and {len(LINES) - 20} more")
    assert not (tmp_path / "adapters").exists()
