"""The explorer of data: pages, search, findings, rows as tokens, and a million rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lora_nb.config import DataConfig, load
from lora_nb.dataset import cache
from lora_nb.errors import LoraError
from lora_nb.runs import engine
from lora_nb_widgets import dataset_explorer_source as sources
from lora_nb_widgets.dataset_explorer import DatasetExplorer
from lora_nb_widgets.theme import Widget
from tests.html_check import read
from tests.unit.data_view.rows import HOSTILE, HOSTILE_ROWS, MESSY_ROWS

GOOD = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(57)]


def written(folder: Path, **splits: list[object]) -> Path:
    folder.mkdir()
    for name, rows in splits.items():
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """57 good rows to train on, and some messy ones."""
    return written(tmp_path / "rows", train=list(GOOD), valid=MESSY_ROWS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measurements of this test's own."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "cache")
    yield
    engine.release()


def press(explorer: DatasetExplorer, name: str) -> None:
    waiting: list[Widget] = [explorer.widget]
    while waiting:
        widget = waiting.pop()
        if getattr(widget, "description", None) == name and hasattr(widget, "click"):
            widget.click()
            explorer.settle()
            return
        waiting += getattr(widget, "children", ())
    raise AssertionError(f"no button '{name}'")


def search(explorer: DatasetExplorer, text: str) -> None:
    explorer._search.value = text
    explorer.settle()


def page_of(explorer: DatasetExplorer) -> str:
    page = read(explorer._pages.html)
    assert page.faults == []
    return page.text


def told(explorer: DatasetExplorer) -> str:
    return read(explorer._told.value).text


def error_of(explorer: DatasetExplorer) -> str:
    return read(explorer._errors.value).text


def test_pages_are_turned_and_sized(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    assert explorer.numbers == list(range(10))
    assert "train.jsonl:1What is 0?It is 0." in page_of(explorer)
    press(explorer, "Next")
    assert explorer.numbers == list(range(10, 20))
    press(explorer, "Last")
    assert explorer.numbers == list(range(50, 57))
    press(explorer, "Next")
    assert explorer.numbers == list(range(50, 57))
    press(explorer, "Previous")
    assert explorer.numbers == list(range(40, 50))
    explorer._pages._size.value = 20
    assert explorer.numbers == list(range(40, 57))
    press(explorer, "First")
    press(explorer, "Previous")
    assert explorer.numbers == list(range(20))
    assert read(explorer._pages._where.value).text == "1-20 of 57"


def test_splits_can_be_chosen(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    assert explorer._split.options == ("train", "valid")
    assert explorer._split.value == "train"
    explorer._split.value = "valid"
    assert "never ended" not in page_of(explorer)
    assert "broken JSON" in page_of(explorer)
    assert told(explorer) == "9 rows of valid"


def test_search_is_of_all_rows_of_the_split(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    search(explorer, "what IS 5")
    assert explorer.numbers == [5, *range(50, 57)]
    assert told(explorer) == "8 rows of train with 'what IS 5'"
    search(explorer, "nowhere")
    assert explorer.numbers == []
    assert page_of(explorer) == "No such rows."
    search(explorer, "")
    assert explorer.numbers == list(range(10))


def test_a_search_that_finds_too_much_says_so(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST", 25)
    explorer = DatasetExplorer(rows)
    search(explorer, "what")
    assert told(explorer) == "25 rows of train with 'what' (the first 25 that hold it)"


def test_an_answer_that_comes_too_late_is_left_out(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    old = explorer._ask("Searching…")
    chosen = sources.chosen_by(explorer._opened(), "train", None, "what is 7")
    search(explorer, "what is 8")
    explorer._show(old, chosen)
    assert explorer.numbers == [8]


def test_rows_are_chosen_by_what_is_wrong_with_them(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    labels = [label for label, _ in explorer._finding.options]
    assert labels[0] == "all rows"
    broken = next(label for label in labels if "broken JSON" in label)
    assert broken.startswith("✖ valid: ")
    explorer._finding.value = dict(explorer._finding.options)[broken]
    assert explorer.numbers == [2]
    assert "valid.jsonl:3" in page_of(explorer)
    same = next(label for label in labels if "the row is the same as" in label)
    explorer._finding.value = dict(explorer._finding.options)[same]
    assert explorer.numbers == [3]
    search(explorer, "not in it")
    assert explorer.numbers == []
    search(explorer, "bob")
    assert explorer.numbers == [3]
    explorer._finding.value = None
    search(explorer, "")
    assert explorer.numbers == list(range(10))


def test_of_a_frequent_finding_the_first_places_are_known(tmp_path: Path) -> None:
    folder = written(tmp_path / "many", train=[GOOD[0]] * 50)
    explorer = DatasetExplorer(folder)
    _, finding = explorer._finding.options[1]
    explorer._finding.value = finding
    assert told(explorer) == "20 rows of train (the first 20 of 49 places)"


def test_findings_of_a_whole_split_are_no_choice_of_rows(tmp_path: Path) -> None:
    explorer = DatasetExplorer(written(tmp_path / "few", train=[GOOD[0]]))
    assert len(explorer.source.report.found if explorer.source else []) == 1
    assert [label for label, _ in explorer._finding.options] == ["all rows"]


def test_without_a_model_a_row_is_shown_as_it_is(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    explorer._place.value = "12"
    page = read(explorer._detail.value)
    assert page.faults == []
    assert "train row 12 (train.jsonl:13)" in page.text
    assert "What·is·12?" in page.text
    press(explorer, "Check every row")
    assert error_of(explorer) == ("Tokens need a tokenizer: name a model, and open the data again.")
    explorer._place.value = "valid:99"
    assert "There is no row 99 in valid" in error_of(explorer)
    explorer._place.value = "valid.jsonl:3"
    assert "broken JSON" in error_of(explorer)


def test_the_number_of_a_row_is_one_of_the_split_that_is_shown(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    explorer._split.value = "valid"
    explorer._place.value = "0"
    assert "valid row 0 (valid.jsonl:1)" in read(explorer._detail.value).text


def test_rows_are_gone_through_one_by_one(rows: Path) -> None:
    explorer = DatasetExplorer(rows)
    search(explorer, "what is 5")
    explorer._pages._size.options = (2, 10)
    explorer._pages._size.value = 2
    seen = []
    for _ in range(3):
        press(explorer, "Next row")
        seen.append(read(explorer._detail.value).text.split(" (")[0])
    assert seen == ["train row 5", "train row 50", "train row 51"]
    assert explorer.numbers == [51, 52]
    press(explorer, "Previous row")
    assert explorer.numbers == [5, 50]
    assert "train row 50" in read(explorer._detail.value).text
    search(explorer, "nowhere")
    press(explorer, "Next row")
    assert error_of(explorer) == "There is no row to go to."


def test_with_a_model_a_row_is_shown_as_tokens(rows: Path, model: Path) -> None:
    explorer = DatasetExplorer(rows, model, mask_prompt=True)
    explorer._place.value = "7"
    explorer.settle(60)
    page = read(explorer._detail.value)
    assert page.faults == []
    assert error_of(explorer) == ""
    assert "trained: the model learns to write it" in page.text
    assert "masked: read, but not learnt" in page.text
    recipe = explorer._recipe_view.recipe
    assert recipe is not None
    assert recipe.magic.startswith(f"%lora_data --model {model} --data {rows} --mask-prompt --row")
    assert recipe.magic.endswith("--row train:7")


def test_every_row_can_be_checked_with_the_model(rows: Path, model: Path) -> None:
    explorer = DatasetExplorer(rows, model, max_seq_length=8)
    before = explorer._report.value
    assert "tokens: min" not in before
    press(explorer, "Check every row")
    explorer.settle(90)
    assert error_of(explorer) == ""
    assert explorer._fold.head.value
    page = read(explorer._report.value)
    assert page.faults == []
    assert "tokens: min" in page.text
    assert any("cut" in label for label, _ in explorer._finding.options)
    assert explorer.numbers == list(range(10))


def test_other_data_is_opened_beside(rows: Path, tmp_path: Path) -> None:
    explorer = DatasetExplorer()
    assert "No data was opened yet." in explorer._empty.value
    assert [part.layout.display for part in explorer._about_rows] == ["none", "none"]
    assert explorer.source is None
    press(explorer, "Open")
    assert error_of(explorer) == "Data: name a folder, a .jsonl file, a data set, or demo."
    press(explorer, "Next row")
    explorer._search.value = "x"
    assert error_of(explorer) == "Open some data first."
    explorer._data.value = str(rows)
    press(explorer, "Open")
    assert error_of(explorer) == ""
    assert explorer.numbers == list(range(10))
    assert [part.layout.display for part in explorer._about_rows] == ["flex", ""]
    assert explorer._empty.layout.display == "none"
    explorer._data.value = str(tmp_path / "rowz")
    press(explorer, "Open")
    assert "does not exist. Did you mean" in error_of(explorer)
    assert explorer.numbers == list(range(10))


def test_data_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="does not exist"):
        DatasetExplorer(tmp_path / "none")
    with pytest.raises(LoraError, match="not an option"):
        DatasetExplorer("demo", rnk=3)


def test_frames_and_lists_can_be_looked_at(home: Path) -> None:
    explorer = DatasetExplorer(pd.DataFrame(GOOD))
    assert "data[0]What is 0?It is 0." in page_of(explorer)
    assert len(DatasetExplorer(GOOD[:3]).numbers) == 3


def test_the_demo_comes_with_its_model() -> None:
    explorer = DatasetExplorer("demo")
    assert explorer.source is not None
    assert explorer.source.config == load(DataConfig, flags={"data": "demo", "model": "demo"})
    recipe = explorer._recipe_view.recipe
    assert recipe is not None
    assert recipe.magic == "%lora_data --model demo --data demo"


def test_hostile_rows_stay_text_everywhere(tmp_path: Path) -> None:
    explorer = DatasetExplorer(written(tmp_path / "hostile", train=HOSTILE_ROWS))
    assert HOSTILE[:20] in page_of(explorer)
    for number in range(5):
        explorer._place.value = str(number)
        assert read(explorer._detail.value).faults == []
    search(explorer, HOSTILE[:10])
    assert HOSTILE[:10] in told(explorer)
    assert read(explorer._told.value).faults == []
    explorer._place.value = HOSTILE
    assert HOSTILE in error_of(explorer)
    assert read(explorer._errors.value).faults == []
    page = read(explorer.record())
    assert page.faults == []
    assert any(tag.startswith("img src") for tag in page.tags)
    assert repr(explorer) == "<lora_nb DatasetExplorer>"


def test_a_million_rows_are_there_in_an_instant(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for first in range(0, 1_000_000, 1000):
            file.write(
                "".join(
                    f'{{"prompt": "What is {n}?", "completion": "It is {n}."}}\n'
                    for n in range(first, first + 1000)
                )
            )
    # Other packages are imported once, for all of them.
    DatasetExplorer(GOOD[:1])
    begun = time.perf_counter()
    explorer = DatasetExplorer(path)
    opened = time.perf_counter()
    press(explorer, "Last")
    turned = time.perf_counter()
    search(explorer, "what is 999999")
    found = time.perf_counter()
    assert explorer.numbers == [999_999]
    # A few hundred times quicker than reading all rows; the machine may be busy.
    assert opened - begun < 5
    assert turned - opened < 0.5
    assert found - turned < 10
