"""The room is light: importing it loads none of the big libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lora_nb.data

HEAVY = ("numpy", "pandas", "datasets", "transformers", "mlx", "mlx_lm", "torch", "jinja2")


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_package_loads_nothing() -> None:
    assert loaded("import lora_nb.data") == set()


def test_the_whole_room_loads_numpy_alone() -> None:
    names = ", ".join(name for name in lora_nb.data.__all__)
    assert loaded(f"from lora_nb.data import {names}\nimport lora_nb.data.hub") == {"numpy"}


def test_every_public_name_is_there() -> None:
    for name in lora_nb.data.__all__:
        assert getattr(lora_nb.data, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lora_nb.data.__getattr__("nothing")
