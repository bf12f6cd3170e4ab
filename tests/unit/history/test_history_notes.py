"""Notes and tags: kept with the run, whole, and by several at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

import lora_nb
from lora_nb.errors import LoraError
from lora_nb.runs.notes import annotate, read_notes
from tests.unit.commands.conftest import Shell
from tests.unit.runs.kit import ended, made, started


def test_notes_and_tags_are_kept_in_the_folder(
    shell: Shell, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(runs_root, started(), ended("completed"))
    shell.run('%lora_note latest "a first try" --tag good,small')
    assert capsys.readouterr().out == f"{run.name}: good, small\n  a first try\n"
    shell.run(f"%lora_note {run.name} --untag small second look")
    assert capsys.readouterr().out == f"{run.name}: good\n  a first try\n  second look\n"
    shell.run("%lora_note latest")
    assert capsys.readouterr().out == f"{run.name}: good\n  a first try\n  second look\n"
    found = lora_nb.attach().notes
    assert (found.tags, found.latest) == (("good",), "second look")
    assert [note.text for note in found.notes] == ["a first try", "second look"]
    assert shell.value("%lora_runs")[["tags", "note"]].values.tolist() == [["good", "second look"]]
    assert json.loads(run.notes_path.read_text())["tags"] == ["good"]
    assert sorted(path.name for path in run.path.iterdir()) == [
        "config.yaml", "events.jsonl", "notes.json", "run.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", 'Name the run: %lora_note RUN "what was tried".'),
        ("gone text", "No run is called 'gone'."),
        ("latest --tag 'two words'", "--tag: 'two words' is not a plain word: letters, digits,"),
        ("latest --untag good", "{run} has no tag 'good' (it has none)."),
        ("latest --tag a --untag a", "'a' stands behind both --tag and --untag."),
    ],
)
def test_wrong_notes(line: str, words: str, shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"))
    problem = shell.error(f"%lora_note {line}")
    assert isinstance(problem, LoraError)
    assert str(problem).startswith(words.replace("{run}", run.name)), str(problem)
    assert not run.notes_path.exists()


def test_several_may_note_at_once(runs_root: Path) -> None:
    run = made(runs_root, started())
    threads = [
        threading.Thread(target=lambda n=n: annotate(run, f"note {n}", tag=[f"t{n}"]))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_notes(run)
    assert {note.text for note in found.notes} == {f"note {n}" for n in range(12)}
    assert len(found.tags) == 12


def test_a_damaged_file_is_not_written_over(runs_root: Path) -> None:
    run = made(runs_root, started())
    run.notes_path.write_text('{"notes": 3')
    with pytest.raises(LoraError, match=r"notes\.json can't be read as notes\. Mend it, or move"):
        annotate(run, "more")
    assert run.notes_path.read_text() == '{"notes": 3'
    # It hides nothing else.
    assert lora_nb.list_runs()["note"].tolist() == [""]


def test_secrets_are_taken_out(runs_root: Path) -> None:
    run = made(runs_root, started())
    annotate(run, "with token hf_" + 30 * "a")
    assert "hf_aaa" not in run.notes_path.read_text()
    assert "[secret]" in run.notes_path.read_text()


def test_a_link_in_place_of_the_file_is_replaced(runs_root: Path, tmp_path: Path) -> None:
    run = made(runs_root, started())
    other = tmp_path / "other.json"
    other.write_text('{"notes": [], "tags": []}')
    run.notes_path.symlink_to(other)
    annotate(run, "mine")
    assert other.read_text() == '{"notes": [], "tags": []}'
    assert read_notes(run).latest == "mine"


def test_tags_in_a_text_are_words_and_no_letters(runs_root: Path) -> None:
    run = lora_nb.Run(made(runs_root, started()))
    assert run.note(tag="good, small").tags == ("good", "small")
    assert run.note(untag="good").tags == ("small",)


def test_odd_texts_are_kept_and_shown_harmlessly(
    shell: Shell, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(runs_root, started(), ended("completed"))
    annotate(run, "half \ud800 of it")
    assert read_notes(run).latest == "half ? of it"
    annotate(run, "\x1b[31mred <b>\nand more")
    assert read_notes(run).latest == "\x1b[31mred <b>\nand more"
    shell.run("%lora_note latest")
    assert capsys.readouterr().out.endswith("\n  \ufffd[31mred <b> and more\n")
    frame = shell.value("%lora_runs")
    assert frame["note"].tolist() == ["\ufffd[31mred <b> and more"]
    assert "<b>" not in frame.to_html()
