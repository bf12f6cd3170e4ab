"""What a parcel says of itself: its model card, and an adapter's config without local paths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_nb.core.model_files import read_json
from lora_nb.export.card import (
    CARD,
    adapter_card,
    bare_card,
    base_in,
    with_base,
)
from lora_nb.export.card_text import public_name
from lora_nb.export.hub_files import Outgoing, Parcel
from lora_nb.runs.adapters import ADAPTER_CONFIG, PEFT_WEIGHTS, run_of
from lora_nb.runs.places import base_for, seen_from, step_of

__all__ = ["dressed"]

_NO_BASE = (
    "The model card names no base model, since it is not known by a name on the Hub. "
    "--hf-path OWNER/NAME gives it."
)
# What loading an adapter needs. mlx-lm writes every option of the training beside it.
_NEEDED = ("fine_tune_type", "lora_parameters", "model", "model_type", "num_layers", "use_dora")


def dressed(parcel: Parcel, repo: str, base: str | None, bits: float | None = None) -> Parcel:
    """The parcel with a card that names its base model, if that is known; the folder stays as is.

    `base` is the base model's name on the Hub. Raises LoraError for a card that the Hub can't read.
    """
    files = {file.name: file for file in parcel.files}
    if parcel.kind == "adapter":
        files |= _public_config(files[ADAPTER_CONFIG], base)
    card = _card(parcel, files.get(CARD), repo, base, bits)
    files[CARD] = card
    warnings = list(parcel.warnings)
    if base_in(_text(card)) is None:
        warnings.append(_NO_BASE)
    ordered = [files[name] for name in sorted(files)]
    return replace(parcel, files=ordered, warnings=warnings)


def _text(file: Outgoing) -> str:
    if file.text is not None:
        return file.text
    return file.path.read_text(encoding="utf-8", errors="replace")


def _card(
    parcel: Parcel, there: Outgoing | None, repo: str, base: str | None, bits: float | None
) -> Outgoing:
    if there is not None:
        text = _text(there)
        if base is None or base_in(text) == base:
            return there
        return replace(there, text=with_base(text, base))
    if parcel.kind == "model":
        text = bare_card(repo.rpartition("/")[2], base, bits)
    else:
        folder = parcel.folder
        peft = (folder / PEFT_WEIGHTS).is_file()
        config = _config(folder / ADAPTER_CONFIG)
        run = run_of(folder)
        text = adapter_card(
            base_for(folder, run), config, run, hf_path=base, peft=peft, step=step_of(folder, run)
        )
    return Outgoing(CARD, parcel.folder / CARD, text)


def _config(path: Path) -> dict[str, Any]:
    return read_json(path, of="adapter")


def _public_config(file: Outgoing, base: str | None) -> dict[str, Outgoing]:
    """An adapter's config with the base model's public name, without options of the training."""
    config = _config(file.path)
    kept = dict(config)
    if "lora_parameters" in config and "peft_type" not in config:
        kept = {key: value for key, value in config.items() if key in _NEEDED}
    for key in ("model", "base_model_name_or_path"):
        named = kept.get(key)
        if isinstance(named, str):
            kept[key] = base or public_name(seen_from(run_of(file.path.parent), named))
    if kept == config:
        return {}
    return {file.name: replace(file, text=json.dumps(kept, indent=4) + "\n")}
