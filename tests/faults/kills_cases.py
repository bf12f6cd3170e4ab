"""The trainings that are killed: what differs between them, and how many kills each one gets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "WHOLE", "Case", "saves_to_kill"]

# `make faults` takes all of it, `make test` a slice of the same.
WHOLE = os.environ.get("LORA_NB_FAULTS") == "whole"


@dataclass(frozen=True)
class Case:
    """A training by its options; `rate` is a learning rate that it is given in its midst."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    rate: float | None = None

    @property
    def kills(self) -> int:
        """How often it is killed."""
        return 11 if WHOLE else 2

    @property
    def has_control(self) -> bool:
        """Whether its weights alone are tried, too, which takes a checkpoint of its middle."""
        return "keep_checkpoints" not in self.options and (WHOLE or self.rate is None)


def _lora(**values: Any) -> dict[str, Any]:
    return {"lora_parameters": {"rank": 8, "scale": 20.0, **values}}


_COSINE = {"name": "cosine_decay", "arguments": [2e-3, 60], "warmup": 5}
_ALL = [
    Case(
        "dropout-accumulation",
        {**_lora(dropout=0.2), "optimizer": "adamw", "grad_accumulation_steps": 3},
    ),
    Case("rate-set", {"lr_schedule": _COSINE, "steps_per_report": 2, **_lora(dropout=0.1)}, 3e-4),
    Case("plain", {"steps_per_report": 7}),
    Case("schedule-disk", {"lr_schedule": _COSINE, "trunk_cache": "disk", "max_grad_norm": 0.5}),
    Case("dora", {"fine_tune_type": "dora", "optimizer": "adamw", "trunk_cache": "off"}),
    Case(
        "full-adafactor",
        {"fine_tune_type": "full", "num_layers": 1, "optimizer": "adafactor"},
    ),
    Case(
        "full-muon-accumulation",
        {
            "fine_tune_type": "full",
            "num_layers": 1,
            "optimizer": "muon",
            "grad_accumulation_steps": 4,
            "trunk_cache": "memory",
        },
    ),
    Case(
        "sgd-momentum",
        {"optimizer": "sgd", "optimizer_config": {"sgd": {"momentum": 0.9}}, "num_layers": -1},
    ),
    Case(
        "early-stop-best",
        {
            "learning_rate": 0.02,
            "early_stop": 4,
            "steps_per_eval": 3,
            "val_batches": -1,
            "publish": "best",
            "keep_checkpoints": 2,
        },
    ),
    Case("packing", {"packing": True, **_lora(dropout=0.1), "max_seq_length": 128}),
    Case(
        "epochs-keep-one",
        {
            "iters": None,
            "epochs": 4.7,
            "grad_checkpoint": True,
            "keep_checkpoints": 1,
            "optimizer": "adamw",
        },
    ),
]

CASES = _ALL if WHOLE else _ALL[:2]


def saves_to_kill() -> int:
    """How many kills go to the program that only saves."""
    return 250 if WHOLE else 30
