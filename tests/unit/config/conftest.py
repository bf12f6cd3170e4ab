"""What mlx-lm itself says about its options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.tiny import python

_ASK = """
import json
from importlib import import_module
from mlx_lm import lora
generate = import_module("mlx_lm.generate")
def told(parser):
    return {
        action.dest: {"names": action.option_strings, "default": action.default,
                      "choices": action.choices}
        for action in parser._actions if action.dest != "help"
    }
print(json.dumps({
    "defaults": lora.CONFIG_DEFAULTS,
    "train": told(lora.build_parser()),
    "generate": told(generate.setup_arg_parser()),
}))
"""


@dataclass(frozen=True)
class Upstream:
    """mlx-lm's defaults for training, and the flags of its two commands by key."""

    defaults: dict[str, Any]
    train: dict[str, dict[str, Any]]
    generate: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def upstream() -> Upstream:
    # In a process of its own: importing mlx_lm changes the one it happens in.
    asked = python(_ASK)
    assert asked.returncode == 0, asked.stderr
    return Upstream(**json.loads(asked.stdout.splitlines()[-1]))
