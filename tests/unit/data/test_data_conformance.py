"""The same ids and targets as mlx-lm's own data sets give, on the same rows."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

from tests.unit.data.kit import TEMPLATES, encoder_of

datasets = pytest.importorskip("mlx_lm.tuner.datasets")
utils = pytest.importorskip("mlx_lm.tokenizer_utils")

TEXTS = ["hello there", "Paris.", " two  blanks ", "\n\nlines\n", "日本語 🙂 größe", "a<|im_end|>"]
ROWS: list[dict[str, Any]] = [
    *({"text": text} for text in TEXTS),
    *({"prompt": a, "completion": b} for a in TEXTS for b in TEXTS[:5]),
    *(
        {
            "messages": [
                {"role": "user", "content": a},
                {"role": "assistant", "content": b},
                {"role": "user", "content": b},
                {"role": "assistant", "content": a},
            ],
            "extra": 1,
        }
        for a in TEXTS
        for b in TEXTS
    ),
    {"messages": [{"role": "user", "content": "hello"}]},
    {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
    },
    {"prompt": "a", "completion": "b", "text": "c", "messages": []},
]
NAMES = [*TEMPLATES, "pieces", "pieces-chatml"]


def theirs(tokenizer: Any, row: dict[str, Any], mask: bool) -> tuple[list[int], list[int]]:
    """Ids, and the positions that mlx-lm's loss takes as targets (its pad token left out)."""
    config = types.SimpleNamespace(mask_prompt=mask)
    data = datasets.create_dataset([row], tokenizer, config)
    ids, offset = data.process(data[0])
    steps = np.arange(1, len(ids))
    return list(ids), steps[steps >= offset].tolist()


def begins_with_prompt(tokenizer: Any, row: dict[str, Any], ids: list[int]) -> bool:
    """Where it does not, mlx-lm counts tokens of a prompt that is not there."""
    messages = row.get("messages") or [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["completion"]},
    ]
    prompt = tokenizer.apply_chat_template(
        messages[:-1],
        add_generation_prompt=messages[-1]["role"] == "assistant",
        return_dict=False,
    )
    return bool(ids[: len(prompt)] == list(prompt))


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_same_ids_and_targets(
    tokenizers: dict[str, Any], name: str, mask: bool, wrapped: bool
) -> None:
    tokenizer = tokenizers[name]
    if wrapped:
        tokenizer = utils.TokenizerWrapper(tokenizer)
    encoder = encoder_of(tokenizer, mask_prompt=mask)
    compared = shifted = 0
    for row in ROWS:
        if mask and ("text" in row and "prompt" not in row):
            continue
        if mask and len(row.get("messages", "..")) == 1:
            continue
        ids, targets = theirs(tokenizer, row, mask)
        (ours,) = encoder.encode(row)
        assert ours.ids.tolist() == ids, row
        if mask and not begins_with_prompt(tokenizer, row, ids):
            shifted += 1
            continue
        assert np.flatnonzero(ours.trained).tolist() == targets, row
        compared += 1
    assert compared > 50 or name == "open-thought"
    assert shifted < 25 or name == "open-thought"


def test_other_feature_names(tokenizer: Any) -> None:
    row = {"q": "a", "a": "b", "prompt": "no"}
    config = types.SimpleNamespace(mask_prompt=True, prompt_feature="q", completion_feature="a")
    data = datasets.create_dataset([row], tokenizer, config)
    ids, offset = data.process(row)
    encoder = encoder_of(tokenizer, mask_prompt=True, prompt_feature="q", completion_feature="a")
    (ours,) = encoder.encode(row)
    assert ours.ids.tolist() == ids
    assert np.flatnonzero(ours.trained).tolist() == list(range(offset, len(ids)))


def test_tools(tokenizers: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    tokenizer = tokenizers["default-system"]
    for row in (
        {"prompt": "a", "completion": "b", "tools": tools},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
         "tools": tools},
        {"prompt": "a", "completion": "b", "tools": None},
    ):  # fmt: skip
        ids, targets = theirs(tokenizer, row, True)
        (ours,) = encoder_of(tokenizer, mask_prompt=True).encode(row)
        assert ours.ids.tolist() == ids
        assert np.flatnonzero(ours.trained).tolist() == targets
