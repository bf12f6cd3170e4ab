"""From rows to trained tokens: sources, formats, templates, masks, batches and the data doctor.

The names below are loaded when first used, so that importing this package costs nothing.
`prepare` is the name of a module, so the function is `lora_nb.data.prepare.prepare`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lora_nb.data.batches import Batch, BatchPlan, collate, padding_waste
    from lora_nb.data.doctor import Examined, check, examine
    from lora_nb.data.faults import RowError
    from lora_nb.data.findings import Finding, raise_errors
    from lora_nb.data.formats import kind_of, to_messages
    from lora_nb.data.prepare import Prepared
    from lora_nb.data.records import rows_of
    from lora_nb.data.rows import Rows
    from lora_nb.data.sources import Splits, open_splits
    from lora_nb.data.templates import Template, resolve_template
    from lora_nb.data.tokenizer import Tokenizer
    from lora_nb.data.tokens import Encoded, Encoder

_HOME = {
    "Batch": "batches",
    "BatchPlan": "batches",
    "Encoded": "tokens",
    "Encoder": "tokens",
    "Examined": "doctor",
    "Finding": "findings",
    "Prepared": "prepare",
    "RowError": "faults",
    "Rows": "rows",
    "Splits": "sources",
    "Template": "templates",
    "Tokenizer": "tokenizer",
    "check": "doctor",
    "collate": "batches",
    "examine": "doctor",
    "kind_of": "formats",
    "open_splits": "sources",
    "padding_waste": "batches",
    "raise_errors": "findings",
    "resolve_template": "templates",
    "rows_of": "records",
    "to_messages": "formats",
}

__all__ = [
    "Batch",
    "BatchPlan",
    "Encoded",
    "Encoder",
    "Examined",
    "Finding",
    "Prepared",
    "RowError",
    "Rows",
    "Splits",
    "Template",
    "Tokenizer",
    "check",
    "collate",
    "examine",
    "kind_of",
    "open_splits",
    "padding_waste",
    "raise_errors",
    "resolve_template",
    "rows_of",
    "to_messages",
]


def __getattr__(name: str) -> object:
    """The public name, from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"lora_nb.data.{_HOME[name]}"), name)
    globals()[name] = value
    return value
