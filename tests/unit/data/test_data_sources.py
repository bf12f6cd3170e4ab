from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_nb.data.records import RecordRows
from lora_nb.data.sources import looks_like_path, open_splits
from lora_nb.errors import LoraError
from tests.unit.data.kit import Options, write

ROW = '{"text": "a"}'
Loader = Callable[..., Any]


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fails every load from the Hub and notes the names that were asked for."""
    import datasets

    asked: list[str] = []

    def load(name: str, **arguments: Any) -> Any:
        asked.append(name)
        raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist")

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def hub(monkeypatch: pytest.MonkeyPatch, load: Loader) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", load)


def test_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", ROW, ROW)
    write(tmp_path, "valid.jsonl", ROW)
    splits = open_splits(Options(data=str(tmp_path)), ["train"])
    assert [(name, len(rows), rows.name) for name, rows in splits.items()] == [
        ("train", 2, "train"),
        ("valid", 1, "valid"),
    ]
    assert splits.test is None
    assert splits.needed == {"train"}
    assert splits.used == {"train", "valid"}


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "train.jsonl", ROW)
    assert open_splits(Options(data="~/set"), ["train"]).train is not None


def test_a_needed_split_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", ROW)
    write(tmp_path, "testing.jsonl", ROW)
    with pytest.raises(LoraError) as caught:
        open_splits(Options(data=str(tmp_path)), ["test"])
    assert str(caught.value) == (
        f"Data folder '{tmp_path}' has no test.jsonl. It has testing.jsonl, train.jsonl. "
        "Did you mean 'testing.jsonl'?"
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="is empty; it needs train"):
        open_splits(Options(data=str(tmp_path)), ["train"])


def test_a_needed_split_without_rows(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", "", " ")
    with pytest.raises(LoraError, match=r"The train split of .* has no rows"):
        open_splits(Options(data=str(tmp_path)), ["train"])


def test_a_single_file(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.jsonl", ROW)
    splits = open_splits(Options(data=str(path)), ["train"])
    assert splits.train is not None
    assert splits.train.where(0) == "mine.jsonl:1"
    with pytest.raises(LoraError) as caught:
        open_splits(Options(data=str(path)), ["train", "test"])
    assert str(caught.value) == (
        f"Data '{path}' is one file, but train and test rows are needed. Give a folder with "
        "train.jsonl, valid.jsonl and test.jsonl (those that are needed)."
    )
    other = write(tmp_path, "mine.csv", "a,b")
    with pytest.raises(LoraError, match=r"mine\.csv' is not a \.jsonl file\. Give a folder"):
        open_splits(Options(data=str(other)), ["train"])


PATHS = ["./data", "../x", "/no/such", "~/nothing", "a/b/c", "data/", "x.jsonl", "d/train.jsonl"]


@pytest.mark.parametrize("name", [*PATHS, "C:\\data", "a b", "x.csv"])
def test_a_path_that_does_not_exist_never_goes_to_the_hub(name: str, no_hub: list[str]) -> None:
    assert looks_like_path(name)
    with pytest.raises(LoraError, match=r"^Data folder '.*' does not exist\..* Give a folder with"):
        open_splits(Options(data=name), ["train"])
    assert no_hub == []


@pytest.mark.parametrize("name", ["squad", "mlx-community/WikiSQL", "a.b/c-d_e"])
def test_hub_names_are_no_paths(name: str) -> None:
    assert not looks_like_path(name)


def test_a_mistyped_folder_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_hub: list[str]
) -> None:
    (tmp_path / "data" / "poems").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoraError, match="Did you mean 'data/poems'") as caught:
        open_splits(Options(data="data/peoms"), ["train"])
    assert "hf_dataset: {path: data/peoms}" in str(caught.value)
    with pytest.raises(LoraError, match="Did you mean 'data'"):
        open_splits(Options(data="dat"), ["train"])
    assert no_hub == []


def test_an_unknown_data_set(no_hub: list[str]) -> None:
    with pytest.raises(LoraError) as caught:
        open_splits(Options(data="me/nothing"), ["train"])
    assert str(caught.value) == (
        "Data 'me/nothing' is neither a folder here nor a data set on Hugging Face. "
        "Check the name; a private one needs a login."
    )
    assert no_hub == ["me/nothing"]


def test_wikisql_is_the_one_of_mlx(no_hub: list[str]) -> None:
    with pytest.raises(LoraError):
        open_splits(Options(data="wikisql"), ["train"])
    assert no_hub == ["mlx-community/WikiSQL"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach the Hub"), "no connection to Hugging Face"),
        (TimeoutError(), "no connection to Hugging Face"),
        (ValueError("bad\n  metadata"), r"cannot be loaded \(ValueError: bad metadata\)"),
        (RuntimeError("Dataset is a gated dataset"), "is gated. Ask for access on its page"),
    ],
)
def test_failures_of_the_hub(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **arguments: Any) -> Any:
        raise error

    hub(monkeypatch, load)
    with pytest.raises(LoraError, match=message):
        open_splits(Options(data="me/set"), ["train"])


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library, offline."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        LoraError, match="no connection to Hugging Face, and it is not in the cache"
    ):
        open_splits(Options(data="me/not-there-at-all"), ["train"])


def test_datasets_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(LoraError, match="Install it with: pip install datasets"):
        open_splits(Options(data="me/set"), ["train"])


def table(*rows: dict[str, Any]) -> Any:
    import datasets

    return datasets.Dataset.from_list(list(rows))


def test_a_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(
        monkeypatch,
        lambda name: {"train": table({"text": "a"}), "validation": table({"text": "b"})},
    )
    splits = open_splits(Options(data="me/set"), ["train"])
    assert splits.train is not None
    assert splits.valid is not None
    assert splits.train[0] == {"text": "a"}
    assert splits.valid.where(0) == "me/set validation[0]"
    assert splits.valid.name == "valid"
    with pytest.raises(LoraError, match=r"has no test split \(it has train and valid\)"):
        open_splits(Options(data="me/set"), ["test"])


def test_a_hub_data_set_with_other_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda name: {"all": table({"text": "a"})})
    with pytest.raises(LoraError, match=r"\(it has all\). Name its splits in hf_dataset"):
        open_splits(Options(data="me/set"), ["train"])


QA = {"path": "me/qa", "prompt_feature": "q", "completion_feature": "a"}


def test_hf_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **arguments: Any) -> Any:
        asked.append((name, arguments))
        return table({"q": "1", "a": "2"}, {"q": "3", "a": "4"})

    hub(monkeypatch, load)
    entry = {**QA, "config": {"revision": "x"}, "valid_split": "v", "test_split": "t"}
    splits = open_splits(Options(hf_dataset=entry), ["train", "test"])
    assert asked == [
        ("me/qa", {"split": "train[:80%]", "revision": "x"}),
        ("me/qa", {"split": "v", "revision": "x"}),
        ("me/qa", {"split": "t", "revision": "x"}),
    ]
    assert splits.train is not None
    assert splits.train[1] == {"q": "3", "a": "4", "prompt": "3", "completion": "4"}
    assert splits.train.where(1) == "me/qa train[:80%][1]"
    assert splits.test is not None


def test_several_hf_datasets_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **arguments: Any) -> Any:
        return (
            table({"q": "1", "a": "2"}) if name == "me/qa" else table({"text": "x"}, {"text": "y"})
        )

    hub(monkeypatch, load)
    entries = [QA, {"name": "me/text", "train_split": "train"}]
    splits = open_splits(Options(hf_dataset=entries), ["train"])
    assert splits.train is not None
    assert [row.get("prompt") or row["text"] for row in splits.train] == ["1", "x", "y"]
    assert splits.train.where(2) == "me/text train[1]"
    assert splits.test is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"pth": "me/qa"}, "hf_dataset: unknown key 'pth'. Did you mean 'path'"),
        ({}, "hf_dataset: has no path"),
        ({"train_split": "x"}, "hf_dataset: has no path"),
        ({"path": "me/qa", "config": 5}, "hf_dataset.config: is not a mapping"),
        ({"path": "me/qa", "train_split": 5}, "hf_dataset.train_split: is not a text"),
        ({**QA, "prompt_feature": "qq"}, "'me/qa' has no column 'qq' .it has q, a..*mean 'q'"),
        ([QA, {"path": 5}], r"hf_dataset\[1\]: has no path"),
        ([QA, "me/qa"], r"hf_dataset\[1\]: is not a mapping"),
    ],
)
def test_bad_hf_datasets(entry: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda name, **arguments: table({"q": "1", "a": "2"}))
    options = Options(hf_dataset=entry or {"config": {}})
    with pytest.raises(LoraError, match=message):
        open_splits(options, ["train"])


def test_hf_dataset_without_a_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda name, **arguments: table({"q": "1", "a": "2"}))
    with pytest.raises(LoraError, match="hf_dataset: has no test_split, and test rows are needed"):
        open_splits(Options(hf_dataset=QA), ["test"])


def test_a_streamed_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda name, **a: table({"text": "1"}).to_iterable_dataset())
    with pytest.raises(LoraError, match="a streamed data set has no length"):
        open_splits(Options(hf_dataset={"path": "me/set"}), ["train"])


def test_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import types

    write(tmp_path, "train.jsonl", ROW)
    demo = types.ModuleType("lora_nb.demo")
    demo.__dict__["DATA_PATH"] = tmp_path
    monkeypatch.setitem(sys.modules, "lora_nb.demo", demo)
    assert open_splits(Options(data="demo"), ["train"]).train is not None


def test_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="There is no split 'validation', only train, valid and"):
        open_splits(Options(data=str(tmp_path)), ["validation"])


def test_record_rows_have_the_plain_repr() -> None:
    assert repr(RecordRows([{}], "train")) == "<train: 1 rows>"
