"""A tokenizer's settings before it is loaded, and a first try of it afterwards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper
from transformers import dynamic_module_utils

from lora_nb.core.model_files import read_json
from lora_nb.core.watchdog import watched
from lora_nb.errors import LoraError

__all__ = ["check_settings", "try_out"]

_NAME = re.compile(r"[A-Za-z]\w{0,80}")
_MODULE = re.compile(r"\w{1,60}")
_SECONDS = 10.0
_MEMORY = 4_000_000_000
_LARGEST_GROWTH = 100
_SAMPLE = "The quick brown fox, 1234567890!\n" + 40 * "a" + " " + 40 * "0" + "\tÄé漢🙂" + 40 * " "

# transformers would ask on the terminal whether to run code. The answer is in the options.
dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def check_settings(path: Path) -> None:
    """Raise LoraError if tokenizer_config.json would make something else than a tokenizer."""
    file = path / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    _check_class(file, settings.get("tokenizer_class"))
    _check_class(path / "config.json", read_json(path / "config.json").get("tokenizer_class"))
    for key in ("chat_template_type", "tool_parser_type"):
        value = settings.get(key)
        if value is not None and not (isinstance(value, str) and _MODULE.fullmatch(value)):
            raise LoraError(f"model: {file}: {key} is {value!r}, which mlx-lm does not have.")
    mapped = settings.get("auto_map")
    if mapped is not None and not isinstance(mapped, (dict, list)):
        raise LoraError(f"model: {file}: auto_map is {mapped!r}, which names no class.")


def _check_class(file: Path, name: Any) -> None:
    """Tokenizer classes of transformers are fine, as are names that it doesn't know."""
    if name is None:
        return
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LoraError(f"model: {file}: tokenizer_class is {name!r}, which is no class.")
    import transformers

    kind = getattr(transformers, name, None)
    base = transformers.PreTrainedTokenizerBase
    # Where a package is missing, a stand-in that says so takes the class's place.
    missing = getattr(kind, "__module__", "").startswith("transformers.utils.dummy_")
    known = isinstance(kind, type) and (issubclass(kind, base) or missing)
    if kind is not None and not known:
        raise LoraError(f"model: {file}: tokenizer_class is '{name}', which is no tokenizer.")


def try_out(words: TokenizerWrapper) -> None:
    """Encode a few words. Raises LoraError if what comes out is out of all proportion.

    A tokenizer that hangs on them, or fills the memory, ends the process with a message.
    """
    with watched("the model's tokenizer", _SECONDS, _MEMORY):
        ids = words.encode(_SAMPLE)
    if len(ids) > _LARGEST_GROWTH * len(_SAMPLE):
        raise LoraError(
            f"model: its tokenizer makes {len(ids):,} tokens of {len(_SAMPLE)} characters."
        )
