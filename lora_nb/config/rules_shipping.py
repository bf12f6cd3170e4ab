"""What options of converting, fusing and uploading must satisfy together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_nb.config.derived import BLOCKS
from lora_nb.config.options_shipping import ConvertConfig, FuseConfig, HubOptions, UploadConfig

__all__ = ["Problem", "conversion", "fusing", "hub", "is_repository"]

Problem = tuple[tuple[str, ...], str]
"""The key of an option, and a sentence about it."""

_AFFINE_GROUPS = (32, 64, 128)
_LONGEST_REPOSITORY = 96
_NO_REPOSITORY = (
    "is no name of a repository on the Hub. Give OWNER/NAME, of letters, digits, '-', '_' and '.'."
)


def conversion(config: ConvertConfig) -> Iterator[Problem]:
    """What is wrong with how a model is to be quantised."""
    if config.quantize and config.dequantize:
        yield ("dequantize",), "given beside quantize. Give one of the two."
    given = {
        "q_bits": config.q_bits,
        "q_group_size": config.q_group_size,
        "q_mode": None if config.q_mode == "affine" else config.q_mode,
        "quant_predicate": config.quant_predicate,
    }
    useless = [key for key, value in given.items() if value is not None]
    if useless and not config.quantize:
        for key in useless:
            yield (key,), "says how to quantise, but nothing is quantised. Add --quantize (-q)."
        return
    if config.quant_predicate and config.q_bits:
        yield ("q_bits",), f"the recipe {config.quant_predicate} gives each layer its own bits."
    if config.q_mode == "affine":
        if config.q_group_size not in (None, *_AFFINE_GROUPS):
            yield ("q_group_size",), f"{config.q_group_size} is not 32, 64 or 128."
        return
    if config.quant_predicate:
        yield ("quant_predicate",), f"recipes are for the mode affine, not for {config.q_mode}."
    bits, group = BLOCKS[config.q_mode]
    if config.q_bits not in (None, bits):
        yield ("q_bits",), f"{config.q_mode} has {bits} bits. Leave it out."
    if config.q_group_size not in (None, group):
        yield ("q_group_size",), f"{config.q_mode} has groups of {group}. Leave it out."


def fusing(config: FuseConfig) -> Iterator[Problem]:
    """What is wrong with what is to be written and checked."""
    for key in ("gguf_path", "gguf_type"):
        if getattr(config, key) is not None and not config.export_gguf:
            yield (key,), "is for a GGUF file, but none is written. Add --export-gguf."
    if config.data and not config.check_rows:
        yield ("data",), "names rows to check on, but check_rows is 0. Leave one out."
    if config.trust_sha256 and not config.trust_remote_code:
        yield ("trust_sha256",), "agrees to code that is not run. Add --trust-remote-code."


def is_repository(name: str) -> bool:
    """Whether a text can be the name of a repository of the Hub, with or without an owner."""
    owner, _, bare = name.rpartition("/")
    parts = [bare, *([owner] if "/" in name else [])]
    return len(name) <= _LONGEST_REPOSITORY and all(map(_is_part, parts))


def _is_part(text: str) -> bool:
    ends = text[:1] + text[-1:]
    return (
        re.fullmatch(r"[A-Za-z0-9._-]+", text) is not None
        and not any(end in ".-" for end in ends)
        and not any(twice in text for twice in ("--", ".."))
        and not text.endswith(".git")
    )


def hub(config: HubOptions) -> Iterator[Problem]:
    """What is wrong with where an upload is to go."""
    base = getattr(config, "hf_path", None)
    if base is not None and not is_repository(base):
        yield ("hf_path",), f"'{base}' {_NO_REPOSITORY}"
    if config.upload_repo is not None:
        if not is_repository(config.upload_repo):
            yield ("upload_repo",), f"'{config.upload_repo}' {_NO_REPOSITORY}"
        return
    if isinstance(config, UploadConfig):
        yield ("upload_repo",), "is not given. Name the repository: --upload-repo OWNER/NAME."
        return
    for key in ("public", "update_repo", "dry_run"):
        if getattr(config, key):
            yield (key,), "is about an upload, but nothing is uploaded. Add --upload-repo."
