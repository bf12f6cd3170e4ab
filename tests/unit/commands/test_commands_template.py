"""A template given for training goes with the adapter, and is used when it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb.runs.adapters import template_of

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def test_generation_and_test_use_the_template_of_the_training(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(tmp_path / "runs"))
    file = tmp_path / "mine.jinja"
    file.write_text(TEMPLATE)
    adapters = tmp_path / "adapters"
    usual: dict[str, Any] = {"model": str(model), "data": str(data), "adapter_path": str(adapters)}

    lora_nb.train(**usual, iters=2, batch_size=2, chat_template=str(file), val_batches=0)

    own = template_of(adapters)
    assert own is not None
    assert Path(own).read_text() == TEMPLATE
    file.unlink()
    asked: dict[str, Any] = {"model": str(model), "adapter_path": str(adapters), "max_tokens": 2}
    with_it = lora_nb.generate("Hello", **asked)
    plain = lora_nb.generate("Hello", model=str(model), max_tokens=2)
    assert with_it.stats["adapter prompt_tokens"] != plain.stats["base prompt_tokens"]
    tested = lora_nb.test(**usual).test
    assert tested is not None

    lora_nb.train(**usual, iters=2, batch_size=2, val_batches=0, overwrite=True)
    assert template_of(adapters) is None
    again = lora_nb.test(**usual).test
    assert again is not None
    assert again.tokens != tested.tokens
