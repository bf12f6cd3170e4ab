"""`%lora_data` and `lora-nb data`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_nb import console
from lora_nb.dataset.report import DataReport
from lora_nb.display.mask_view import MaskView
from lora_nb.errors import LoraError
from tests.unit.commands.conftest import Shell


def test_a_report_is_the_result(shell: Shell, messy: Path) -> None:
    report = shell.value(f"%lora_data {messy}")
    assert isinstance(report, DataReport)
    assert report.config.data == str(messy)
    shell.value(f"r = %lora_data --data {messy} --batch-size 2")
    assert shell.value("r.config.batch_size") == 2
    assert shell.value("list(r.search('in both')['where'])") == ["train.jsonl:2", "valid.jsonl:1"]


def test_a_row_is_the_result(shell: Shell, messy: Path, model: Path) -> None:
    view = shell.value(f"%lora_data {messy} --model {model} --row train.jsonl:8 --mask-prompt")
    assert isinstance(view, MaskView)
    assert view.title == "train row 6 (train.jsonl:8)"
    assert "[Groß, naïve, 日本語 🙂 a/b<|im_end|>" in str(view)
    last = shell.value(f"%lora_data {messy} --model {model} --row -1")
    assert last.title == "train row 8 (train.jsonl:10)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a b", "One data set at a time, please: got a, b."),
        ("a --data b", "The data is named twice: a and b."),
        ("./missing", "Data folder './missing' does not exist."),
        ("{messy} --row 3", "The tokens of a row need a tokenizer: name a model (--model)."),
        ("{messy} --row 99", "There is no row 99 in train (it has 9: 0 to 8)."),
        ("{messy} --rwo 3", "--rwo is not a flag here. Did you mean '--row'?"),
        ("{messy} --row", "--row needs a value: --row N|FILE:LINE."),
        ("{messy} --max-seq-length 1", "--max-seq-length: "),
        ("{messy} --learning-rate 1", "--learning-rate is not a flag here."),
    ],
)
def test_what_is_wrong_is_said(line: str, message: str, shell: Shell, messy: Path) -> None:
    problem = shell.error(f"%lora_data {line.replace('{messy}', str(messy))}")
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(message)


def test_help_and_completion(shell: Shell, messy: Path) -> None:
    text = shell.shell.find_line_magic("lora_data").__doc__ or ""  # type: ignore[no-untyped-call]
    for word in ("--row N|FILE:LINE", "--model", "--max-seq-length", "DataReport"):
        assert word in text
    assert "--row" in shell.completions("%lora_data --ro")
    assert "demo" in shell.completions("%lora_data de")


def test_a_training_file_names_the_data(shell: Shell, messy: Path, tmp_path: Path) -> None:
    path = tmp_path / "lora.yaml"
    path.write_text(f"data: {messy}\nmax_seq_length: 77\nlearning_rate: 1e-5\niters: 5\n")
    config = shell.value(f"%lora_data -c {path}").config
    assert (config.data, config.max_seq_length, config.model) == (str(messy), 77, None)


def test_a_terminal_gets_text(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["data", str(messy)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"<lora_nb data {messy}>\n")
    assert "✖ error train.jsonl:3" in out
    assert err == ""


def test_a_terminal_shows_a_row(
    messy: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["data", str(messy), "--model", str(model), "--row", "valid:0", "--mask-prompt"]
    assert console.main(line) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("valid row 0 (valid.jsonl:1)\ncompletions, ")
    assert "[Yes.<|im_end|>" in out
