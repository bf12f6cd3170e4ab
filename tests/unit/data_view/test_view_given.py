"""Rows of a notebook's variables: `%lora_data $df`, `%lora_train --data $df`, and the functions."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import lora_nb
from lora_nb.config import TrainConfig
from lora_nb.data.sources import open_splits
from lora_nb.dataset.given import keep_rows
from lora_nb.errors import LoraError
from lora_nb.runs import store
from tests.unit.commands.conftest import Shell, started

__all__ = ["started"]

ROWS: list[Any] = [
    {"prompt": "How old is Bob?", "completion": "7 {x} $y", "n": 1},
    {"prompt": "Größe 🙂", "completion": "'q' \"d\"", "n": 2},
]


@pytest.fixture
def names(shell: Shell) -> dict[str, Any]:
    """Variables of the notebook."""
    rows = [dict(row) for row in ROWS]
    found: dict[str, Any] = {
        "df": pd.DataFrame(rows),
        "rows": rows,
        "parts": {"train": pd.DataFrame(rows), "validation": [{"text": "x"}]},
        "ds": datasets.Dataset.from_list(rows),
        "dsd": datasets.DatasetDict(
            train=datasets.Dataset.from_list(rows), test=datasets.Dataset.from_list(rows[:1])
        ),
        "number": 5, "words": "adapters", "path": Path("/nowhere"),
    }  # fmt: skip
    shell.shell.user_ns.update(found)
    return found


@pytest.mark.parametrize("word", ["$df", "{df}", "$rows", "$ds", "--data $df", "--data=$df",
                                  "--data {rows[:2]}", "--data={df[df.n > 0]}",
                                  "--data ${words}-x --data $df"])  # fmt: skip
def test_a_variable_is_the_data(word: str, shell: Shell, names: dict[str, Any]) -> None:
    report = shell.value(f"%lora_data {word} --batch-size 2")
    assert report.splits.train is not None
    assert list(report.splits.train) == ROWS
    assert report.ok


@pytest.mark.parametrize("name", ["parts", "dsd"])
def test_variables_with_splits(name: str, shell: Shell, names: dict[str, Any]) -> None:
    report = shell.value(f"%lora_data ${name}")
    splits = dict(report.splits.items())
    assert list(splits["train"]) == ROWS
    assert [*splits] == ["train", "valid" if name == "parts" else "test"]
    assert splits["train"].where(1) == f"{name}.train[1]"
    if name == "parts":
        assert splits["valid"].where(0) == "parts.validation[0]"


def test_places_are_those_of_the_variable(shell: Shell, names: dict[str, Any]) -> None:
    names["rows"].insert(1, {"prompt": "x"})
    report = shell.value("%lora_data $rows")
    assert report.title == "rows"
    assert report.findings["where"][0] == "rows[1]"
    assert shell.value("%lora_data {rows[1:]}").findings["where"][0] == "data[0]"
    text = str(report)
    assert text.startswith("<lora_nb data rows>\n")
    assert "✖ error rows[1]: " in text


def test_training_gets_a_folder_that_stays(
    shell: Shell, names: dict[str, Any], started: list[tuple[Any, bool]]
) -> None:
    shell.value("%lora_train --data $df --iters 5 --model {words} --adapter-path $words/$number")
    shell.value("%lora_train --iters 5 --data {df}")
    shell.value("%%lora_train --data $df\niters: 5")
    shell.value("def f(local):\n    %lora_train --data $local --iters 3\nf(df)")
    shell.value("%lora_test --data $dsd")
    (first, _), (second, _), (third, _), (inner, _), (test, _) = started
    assert first.data == second.data == third.data
    assert (first.model, first.adapter_path) == ("adapters", "adapters/5")
    folder = Path(first.data)
    assert folder.is_absolute()
    assert folder.parent == store.root().absolute() / "data"
    assert folder.name.startswith("df-")
    assert Path(inner.data).name.startswith("local-")
    assert (folder / "train.jsonl").read_text().splitlines()[1] == (
        '{"prompt": "Größe 🙂", "completion": "\'q\' \\"d\\"", "n": 2}'
    )
    assert list(open_splits(TrainConfig(data=first.data), ["train"]).train or []) == ROWS
    assert open_splits(test, ["test"]).test is not None
    assert store.all_runs() == []
    names["df"].loc[0, "prompt"] = "changed"
    shell.value("%lora_train --data $df")
    assert started[-1][0].data != first.data
    assert not list(folder.parent.glob(".lora_nb-*"))


def test_the_functions_take_rows(names: dict[str, Any], started: list[tuple[Any, bool]]) -> None:
    from lora_nb import api

    api.train(data=names["df"], iters=5)
    api.train(data=ROWS)
    assert Path(started[0][0].data).name.startswith("data-")
    assert started[0][0].data == started[1][0].data
    report = lora_nb.data_report(names["parts"])
    assert [*dict(report.splits.items())] == ["train", "valid"]
    assert report.title == "data"
    assert lora_nb.data_report(data=ROWS, batch_size=1).ok


@pytest.mark.parametrize(("line", "message"), [
    ("$nothing", "$nothing: there is no variable nothing."),
    ("$rowz", "$rowz: there is no variable rowz. Did you mean 'rows'?"),
    ("--data $nothing", "$nothing: there is no variable nothing."),
    ("$df.nothing", "$df.nothing cannot be evaluated."),
    ("{nothing}", "{nothing} is not filled in: there is no such variable."),
    ("{df[}", "{df[} is not filled in"),
    ("$number", "number is of type int, which holds no rows. Give a pandas frame, a list of"),
    ("{df.prompt}", "df.prompt is of type Series, which holds no rows."),
    ("{[]}", "data has no rows."),
    ("{df[:0]}", "data has no rows."),
    ("{[1, 2]}", "data is a list of int, not of dicts."),
    ("{dict(train=df, tset=df)}", "data: 'tset' is no split. Did you mean 'test'?"),
    ("{dict(prompt=['a'])}", "data: 'prompt' is no split. Give a pandas frame"),
    ("{dict(valid=df, dev=df)}", "data has more than one valid split."),
    ("{{}}", "Data folder '{}' does not exist"),
    ("$path", "Data folder '/nowhere' does not exist"),
    ("$df $rows", "One data set at a time, please: got "),
    ("{ds.to_iterable_dataset()}", "data: a streamed data set has no length."),
    ("{print}", "print is of type builtin_function_or_method, which holds no rows."),
])  # fmt: skip
def test_what_is_no_data_is_said(
    line: str, message: str, shell: Shell, names: dict[str, Any]
) -> None:
    problem = shell.error(f"%lora_data {line}")
    assert isinstance(problem, LoraError), problem
    assert str(problem).startswith(message)


def test_values_that_are_no_json_never_pass_for_text(tmp_path: Path) -> None:
    day = dt.date(2024, 1, 2)
    frame = pd.DataFrame({"text": ["a", None, "c", "d"], "n": [1, 2, np.nan, 4]})
    frame["when"] = pd.Timestamp(day)
    folder = keep_rows(frame, "df")
    rows = open_splits(TrainConfig(data=str(folder)), ["train"]).train
    assert rows is not None
    assert rows[0]["n"] == 1.0
    assert "text" not in rows[1]
    assert "n" not in rows[2]
    found = lora_nb.data_report([{"text": day}, {"text": "\ud83d"}, 5, {"text": np.array(["a"])}])
    errors = found.findings[found.findings["severity"] == "error"]
    assert sum(errors["count"]) == 4
    assert errors["where"].tolist() == ["data[0]", "data[1]", "data[2]"]
    assert "'text' is an object, not a text." in set(errors["message"])


def test_a_row_is_found_by_its_place(shell: Shell, names: dict[str, Any], model: Path) -> None:
    view = shell.value(f"%lora_data $parts --model {model} --row parts.train[1]")
    assert view.title == "train row 1 (parts.train[1])"
    view = shell.value(f"%lora_data $df --model {model} --row df[0]")
    assert view.title == "train row 0 (df[0])"


def test_a_copy_of_a_variable_lies_here(
    shell: Shell, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names["rows"] += [names["rows"][0], {"prompt": None, "completion": 1}]
    report = shell.value("%lora_data $rows --fix")
    assert report.config.data == "rows-fixed"
    assert report.fixed is not None
    assert report.fixed.frame["where"].tolist() == ["rows[2]", "rows[3]"]
    assert len((tmp_path / "rows-fixed" / "train.jsonl").read_text().splitlines()) == 2
