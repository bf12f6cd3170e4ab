"""Hugging Face data sets, by name or as mlx-lm's `hf_dataset` lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_nb.data.formats import Features
from lora_nb.data.network import chain_of, is_network
from lora_nb.data.records import ConcatRows, TableRows
from lora_nb.data.rows import Rows
from lora_nb.data.sources import SPLITS, Splits
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["ALIASES", "open_custom", "open_named"]

ALIASES = {
    "train": ("train",),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
_FEATURES = ("prompt_feature", "completion_feature", "chat_feature", "text_feature")
_KEYS = (
    "path", "name", "config", "train_split", "valid_split", "test_split", "mask_prompt",
    *_FEATURES,
)  # fmt: skip
_NETWORK = {"TransportError", "RequestException", "LocalEntryNotFoundError"}


def open_named(name: str) -> Splits:
    """The splits train, valid (also called validation) and test of a data set."""
    loaded = _load(name)
    if not isinstance(loaded, Mapping):
        raise LoraError(f"Data set '{name}' did not come with splits.")
    splits = Splits()
    for ours, names in ALIASES.items():
        theirs = next((each for each in names if each in loaded), None)
        if theirs is not None:
            setattr(splits, ours, _table(loaded[theirs], ours, f"{name} {theirs}", {}))
    if not list(splits.items()):
        there = ", ".join(str(key) for key in loaded)
        raise LoraError(
            f"Data set '{name}' has no split train, valid or test (it has {there}). "
            "Name its splits in hf_dataset: train_split, valid_split, test_split."
        )
    return splits


def open_custom(
    wanted: dict[str, Any] | list[dict[str, Any]], options: Features, need: Sequence[str]
) -> Splits:
    """The data sets of `hf_dataset`, one or several after one another."""
    entries = wanted if isinstance(wanted, list) else [wanted]
    parts: dict[str, list[Rows]] = {name: [] for name in SPLITS}
    for place, entry in enumerate(entries):
        name = "hf_dataset" if len(entries) == 1 else f"hf_dataset[{place}]"
        _check_entry(entry, name)
        for split, selection in _selections(entry, name, need).items():
            parts[split].append(_one(entry, name, split, selection, options))
    splits = Splits()
    for split, rows in parts.items():
        if rows:
            setattr(splits, split, rows[0] if len(rows) == 1 else ConcatRows(rows, split))
    return splits


def _check_entry(entry: object, name: str) -> None:
    if not isinstance(entry, dict):
        raise LoraError(f"{name}: is not a mapping. Write it with a path and its splits.")
    for key in entry:
        if key not in _KEYS:
            raise LoraError(f"{name}: unknown key '{key}'.{did_you_mean(str(key), _KEYS)}")
    path = entry.get("path", entry.get("name"))
    if not isinstance(path, str) or not path:
        raise LoraError(f"{name}: has no path. Write path: OWNER/DATASET.")
    if not isinstance(entry.get("config", {}), dict):
        raise LoraError(f"{name}.config: is not a mapping of load_dataset's arguments.")
    for key in (*_FEATURES, "train_split", "valid_split", "test_split"):
        if entry.get(key) is not None and not isinstance(entry[key], str):
            raise LoraError(f"{name}.{key}: is not a text.")


def _selections(entry: dict[str, Any], name: str, need: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    if "train" in need or "valid" in need:
        wanted["train"] = entry.get("train_split") or "train[:80%]"
        wanted["valid"] = entry.get("valid_split") or "train[-10%:]"
    if "test" in need:
        if not entry.get("test_split"):
            raise LoraError(f"{name}: has no test_split, and test rows are needed.")
        wanted["test"] = entry["test_split"]
    return wanted


def _one(
    entry: dict[str, Any], name: str, split: str, selection: str, options: Features
) -> TableRows:
    path = entry.get("path") or entry["name"]
    table = _load(path, split=selection, **entry.get("config", {}))
    columns = list(getattr(table, "column_names", None) or [])
    renamed: dict[str, str] = {}
    for key in _FEATURES:
        theirs = entry.get(key)
        if theirs is None:
            continue
        if theirs not in columns:
            raise LoraError(
                f"{name}.{key}: '{path}' has no column '{theirs}' (it has "
                f"{', '.join(columns)}).{did_you_mean(theirs, columns)}"
            )
        ours = getattr(options, key)
        if ours != theirs:
            renamed[ours] = theirs
    return _table(table, split, f"{path} {selection}", renamed)


def _table(table: Any, split: str, label: str, renamed: dict[str, str]) -> TableRows:
    if not hasattr(table, "__len__"):
        raise LoraError(f"{label}: a streamed data set has no length. Load it without streaming.")
    return TableRows(table, split, label, renamed)


def _load(name: str, **arguments: Any) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise LoraError(
            f"'{name}' is not a folder here, and Hugging Face data sets need the package "
            "'datasets'. Install it with: pip install datasets"
        ) from error
    try:
        return datasets.load_dataset(name, **arguments)
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> LoraError:
    kinds = {type(each).__name__ for each in chain_of(error)}
    text = " ".join(str(error).split())[:300]
    if "gated" in text.lower():
        return LoraError(
            f"Data set '{name}' is gated. Ask for access on its page, then log in to Hugging Face."
        )
    if kinds & {"OfflineModeIsEnabled"} or is_network(error, _NETWORK):
        return LoraError(
            f"Data set '{name}' cannot be fetched: no connection to Hugging Face, and it is "
            "not in the cache. Connect, or give a folder with train.jsonl."
        )
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError"}:
        return LoraError(
            f"Data '{name}' is neither a folder here nor a data set on Hugging Face. "
            "Check the name; a private one needs a login."
        )
    return LoraError(f"Data set '{name}' cannot be loaded ({type(error).__name__}: {text}).")
