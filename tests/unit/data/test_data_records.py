from __future__ import annotations

from typing import Any

import pytest

from lora_nb.data.records import ConcatRows, RecordRows, TableRows, rows_of
from lora_nb.errors import LoraError


def test_a_list_of_dicts() -> None:
    rows = rows_of([{"text": "a"}, {"text": "b"}], "valid")
    assert list(rows) == [{"text": "a"}, {"text": "b"}]
    assert (rows.name, rows.where(1)) == ("valid", "valid[1]")


def test_a_generator_is_gathered() -> None:
    assert len(rows_of({"text": str(i)} for i in range(3))) == 3


def test_rows_pass_through() -> None:
    rows = rows_of([])
    assert rows_of(rows) is rows


@pytest.mark.parametrize("bad", ["text", b"bytes", 5, {"text": "a"}, None])
def test_other_things_are_refused(bad: object) -> None:
    with pytest.raises(LoraError, match="Give a list of dicts, a pandas frame or"):
        rows_of(bad)


def test_a_row_that_is_no_dict_is_named() -> None:
    rows = rows_of([{"text": "a"}, "b"])
    with pytest.raises(LoraError, match=r"^train\[1\]: the row is of type str, not a dict"):
        rows[1]


def test_a_frame_leaves_missing_cells_out() -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "text": ["a", None, float("nan"), pd.NA],
            "n": [1.0, float("nan"), 3.0, 4.0],
            "when": [pd.NaT, pd.NaT, pd.NaT, pd.NaT],
            "messages": [np.array([1, 2]), None, None, [{"role": "user"}]],
        },
        index=[7, 7, 8, 9],
    )
    assert list(rows_of(frame)) == [
        {"text": "a", "n": 1.0, "messages": [1, 2]},
        {},
        {"n": 3.0},
        {"n": 4.0, "messages": [{"role": "user"}]},
    ]


def test_a_data_set_is_read_row_by_row() -> None:
    import datasets

    data = datasets.Dataset.from_list([{"q": "1", "a": "x"}, {"q": "2", "a": "y"}])
    rows = rows_of(data, "train")
    assert rows[1] == {"q": "2", "a": "y"}
    renamed = TableRows(data, "train", "me/set train", {"prompt": "q", "completion": "a"})
    assert renamed[0] == {"q": "1", "a": "x", "prompt": "1", "completion": "x"}
    assert renamed.where(0) == "me/set train[0]"


def test_a_streamed_data_set_is_refused() -> None:
    import datasets

    data = datasets.Dataset.from_list([{"text": "1"}]).to_iterable_dataset()
    with pytest.raises(LoraError, match="a streamed data set has no length"):
        rows_of(data)


def test_a_data_set_that_fails_names_the_row() -> None:
    class Broken(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            raise RuntimeError("shard is gone")

    rows = TableRows(Broken([1]), "train", "me/set train")
    with pytest.raises(
        LoraError, match=r"^me/set train\[0\]: the data set could not give this row"
    ):
        rows[0]


def test_concatenated_rows_keep_their_places() -> None:
    parts = [
        RecordRows([{"a": 1}], "one"),
        RecordRows([], "none"),
        RecordRows([{"a": 2}] * 2, "two"),
    ]
    rows = ConcatRows(parts, "train")
    assert [row["a"] for row in rows] == [1, 2, 2]
    assert [rows.where(i) for i in range(3)] == ["one[0]", "two[0]", "two[1]"]
    assert rows[-1] == {"a": 2}


def test_fingerprints_follow_content_and_order() -> None:
    one, two = {"text": "a"}, {"text": "\ud800"}
    prints = {rows_of(data).fingerprint() for data in ([one, two], [two, one], [one], [one, two])}
    assert len(prints) == 3
