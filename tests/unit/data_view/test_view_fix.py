"""`--fix`: a cleaned copy beside the original, through the command as it is called."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb import console
from lora_nb.config import DataConfig
from lora_nb.data.mark import NAME, read_mark
from lora_nb.dataset.report import DataReport
from lora_nb.errors import LoraError
from tests.unit.commands.conftest import Shell
from tests.unit.data.test_data_bad_rows import BAD
from tests.unit.data_view.rows import HOSTILE
from tests.unit.data_view.test_view_mask_html import Page


def texts(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_copy_beside_the_original(shell: Shell, messy: Path) -> None:
    before = (messy / "train.jsonl").read_bytes()
    report = shell.value(f"%lora_data {messy} --fix")
    assert isinstance(report, DataReport)
    copy = messy.with_name("messy-fixed")
    assert report.config.data == str(copy)
    assert report.ok
    assert (messy / "train.jsonl").read_bytes() == before
    lines = (messy / "train.jsonl").read_text().splitlines()
    assert texts(copy / "train.jsonl") == [lines[0], lines[7], lines[9]]
    assert texts(copy / "valid.jsonl") == texts(messy / "valid.jsonl")
    assert sorted(path.name for path in copy.iterdir()) == [NAME, "train.jsonl", "valid.jsonl"]
    assert lora_nb.data_report(copy).ok
    assert report.fixed is not None
    frame = report.fixed.frame
    assert list(frame.columns) == ["split", "done", "code", "count", "where", "message", "places"]
    assert set(frame["done"]) == {"dropped", "changed"}
    assert frame.set_index("code")["where"].to_dict() == {
        "leak": "train.jsonl:2", "json": "train.jsonl:3", "duplicate": "train.jsonl:4",
        "keys": "train.jsonl:5", "null": "train.jsonl:7", "role": "train.jsonl:9",
        "blank": "train.jsonl",
    }  # fmt: skip


def test_the_account_is_shown(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["data", str(messy), "--fix"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    copy = messy.with_name("messy-fixed")
    assert f"Cleaned copy in {copy} (rows: train 9 → 3, valid 1)." in out
    assert "  train: dropped 1 (train.jsonl:3): broken JSON at column 12" in out
    assert "✖" not in out
    page = Page(lora_nb.data_report(messy, fix=True).html())
    shown = "".join(page.texts)
    assert shown.index("Cleaned copy in") < shown.index("train.jsonl:9") < shown.index("Findings:")
    assert lora_nb.data_report(copy).fixed is None
    mark = read_mark(copy)
    assert mark is not None
    assert any("train.jsonl:7" in line for line in mark.account)


def test_every_bad_row_at_once(tmp_path: Path) -> None:
    good = b'{"text": "fine"}'
    bad = [line if isinstance(line, bytes) else line.encode() for line, _, _ in BAD.values()]
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "train.jsonl"
    path.write_bytes(b"\n".join([good, *bad]) + b"\n")
    report = lora_nb.data_report(tmp_path / "d", fix=True)
    assert report.ok
    assert report.fixed is not None
    assert report.fixed.rows == {"train": (1 + len(BAD), 1)}
    assert sum(each.count for each in report.fixed.changes) == len(BAD)
    assert (tmp_path / "d-fixed" / "train.jsonl").read_bytes() == good + b"\n"


def test_it_is_made_anew_but_never_over_other_files(messy: Path) -> None:
    copy = messy.with_name("messy-fixed")
    first = lora_nb.data_report(messy, fix=True)
    (messy / "train.jsonl").write_text('{"text": "only this"}\n')
    assert lora_nb.data_report(messy, fix=True).fixed != first.fixed
    assert texts(copy / "train.jsonl") == ['{"text": "only this"}']
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(LoraError, match="a copy that lora_nb made, but it was changed since"):
        lora_nb.data_report(messy, fix=True)
    (copy / "notes.txt").unlink()
    with (copy / "train.jsonl").open("a") as file:
        file.write('{"text": "by hand"}\n')
    with pytest.raises(LoraError, match="it was changed since, so it is not overwritten"):
        lora_nb.data_report(messy, fix=True)
    (copy / NAME).unlink()
    with pytest.raises(LoraError, match="was not made by lora_nb, so it is not overwritten"):
        lora_nb.data_report(messy, fix=True)
    assert len(texts(copy / "train.jsonl")) == 2
    assert not list(messy.parent.glob(".lora_nb-*"))


@pytest.mark.parametrize("text", [
    "[]", "{}", '{"made": "copy"}', '{"made": "copy", "title": 3}', "\x00", "[" * 10**5,
    '{"made": "copy", "title": "x", "files": []}', '{"made": "me", "title": "x"}',
])  # fmt: skip
def test_a_damaged_note_counts_for_nothing(text: str, messy: Path) -> None:
    copy = messy.with_name("messy-fixed")
    copy.mkdir()
    (copy / NAME).write_text(text)
    with pytest.raises(LoraError, match="was not made by lora_nb"):
        lora_nb.data_report(messy, fix=True)


def test_one_file(messy: Path) -> None:
    path = (messy / "train.jsonl").rename(messy / "my rows.jsonl")
    report = lora_nb.data_report(path, fix=True, split="0.5/0.5")
    copy = messy / "my rows-fixed" / "my rows.jsonl"
    assert report.config.data == str(copy)
    assert len(texts(copy)) == 4
    assert [len(rows) for _, rows in report.splits.items()] == [2, 2]
    assert report.splits.train is not None
    assert report.splits.train.where(0).startswith("my rows.jsonl:")


def test_the_working_folder_itself(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(messy)
    lora_nb.data_report(".", fix=True)
    assert (messy.with_name("messy-fixed") / "train.jsonl").exists()


def test_embedded_rows_are_copied_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from lora_nb.data.records import rows_of
    from lora_nb.data.sources import Splits
    from lora_nb.dataset import fix, look

    monkeypatch.setattr(fix, "with_model", lambda config: config)
    monkeypatch.setattr(look, "with_model", lambda config: config)
    found = fix.fix_data(DataConfig(data="demo"))
    assert found.config.data == "demo-fixed"
    splits = Splits(train=rows_of([{"text": "ü\ud83d"}, {"text": "ü", "x": float("nan")}]))
    with monkeypatch.context() as patch:
        patch.setattr(fix, "open_all", lambda _: splits)
        config = dataclasses.replace(DataConfig(), hf_dataset={"path": "a/b"})
        assert fix.fix_data(config).config.hf_dataset is None
    assert texts(tmp_path / "hf_dataset-fixed" / "train.jsonl") == ['{"text": "ü", "x": NaN}']


def test_a_split_that_is_emptied_is_left_out(messy: Path) -> None:
    (messy / "valid.jsonl").write_text("{\n")
    report = lora_nb.data_report(messy, fix=True)
    assert not (messy.with_name("messy-fixed") / "valid.jsonl").exists()
    assert report.fixed is not None
    assert report.fixed.rows["valid"] == (1, 0)


def test_nothing_left_is_an_error(messy: Path) -> None:
    (messy / "train.jsonl").write_text('[\n{"text": "a"},\n]\n')
    with pytest.raises(LoraError) as caught:
        lora_nb.data_report(messy, fix=True)
    assert str(caught.value).startswith("None of the 3 rows of train would be left:\n  - train.js")
    assert not messy.with_name("messy-fixed").exists()


def test_a_folder_that_cannot_be_written(messy: Path) -> None:
    inside = messy / "sub"
    inside.mkdir()
    (inside / "train.jsonl").write_text('{"text": "a"}\n')
    (messy / "sub-fixed").symlink_to("nowhere")
    with pytest.raises(LoraError, match="is there already and was not made by lora_nb"):
        lora_nb.data_report(inside, fix=True)


def test_hostile_rows_stay_text(hostile: Path) -> None:
    page = Page(lora_nb.data_report(hostile, fix=True).html())
    assert HOSTILE in "".join(page.texts)
    assert "script" not in {tag for tag, _ in page.elements}


def test_with_a_model_its_template_decides(model: Path, tmp_path: Path) -> None:
    import shutil

    strict = Path(shutil.copytree(model, tmp_path / "model"))
    path = strict / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    config["chat_template"] = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{{ 'critic' }}"
    )
    path.write_text(json.dumps(config))
    (tmp_path / "d").mkdir()

    def talk(*roles: str) -> str:
        messages = [{"role": role, "content": role} for role in roles]
        return json.dumps({"messages": messages}) + "\n"

    lines = [talk("user", "assistant"), talk("user", "tool"), "{\n", talk("user", "critic")]
    (tmp_path / "d" / "train.jsonl").write_text("".join(lines))
    report = lora_nb.data_report(tmp_path / "d", model=strict, fix=True)
    assert report.ok
    assert (tmp_path / "d-fixed" / "train.jsonl").read_text() == lines[0] + lines[3]
    assert report.fixed is not None
    assert report.fixed.frame["code"].tolist() == ["refused", "json"]


@pytest.mark.parametrize(("line", "message"), [
    ("{messy} --fix --row 1", "--row looks and --fix writes. Give one of the two."),
    ("./missing --fix", "Data folder './missing' does not exist."),
    ("{messy} --fix --split 0.5/0.5", "split: "),
    ("{messy} --fix=yes", "--fix takes no value (got 'yes')."),
])  # fmt: skip
def test_what_is_wrong_is_said(line: str, message: str, shell: Shell, messy: Path) -> None:
    problem = shell.error(f"%lora_data {line.replace('{messy}', str(messy))}")
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(message)
    assert not messy.with_name("messy-fixed").exists()
