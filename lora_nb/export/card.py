"""Model cards: what a model or adapter was made of and how, without a place or a secret."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from lora_nb.errors import LoraError
from lora_nb.export.card_text import code, is_on_hub, plain, public_name, table
from lora_nb.export.card_training import data_sets, training_section
from lora_nb.runs.export_events import Fidelity
from lora_nb.runs.folder import RunFolder

__all__ = [
    "CARD",
    "adapter_card",
    "bare_card",
    "base_in",
    "check_section",
    "model_card",
    "with_base",
]

CARD = "README.md"

# Below this many bits a weight, a model is quantised.
_PLAIN_BITS = 16


def model_card(
    base: str,
    adapter: Mapping[str, Any],
    run: RunFolder | None,
    bits: float,
    hf_path: str | None = None,
    *,
    step: int | None = None,
) -> str:
    """The card of a fused model. `adapter` is its config, `run` the training if it is known.

    `step` is that of the checkpoint which the adapter is; `hf_path` is the base model's name on
    the Hub, where it is another one than `base`.
    """
    base = hf_path or base
    head = _head(base, run, "finetune", named=hf_path is not None)
    made = (
        f"{_kind(adapter)} on {code(public_name(base))}, fused into its weights "
        f"({bits:.2f} bits per weight) with lora_nb on MLX."
    )
    parts = [*head, "---", "", f"# {plain(public_name(base))}, fine-tuned", "", made]
    if run is not None:
        parts += training_section(run, step)
    return "\n".join(parts) + "\n"


def adapter_card(
    base: str | None,
    adapter: Mapping[str, Any],
    run: RunFolder | None,
    *,
    hf_path: str | None = None,
    peft: bool = False,
    step: int | None = None,
) -> str:
    """The card of an adapter alone; how it is loaded stands in it."""
    base = hf_path or base
    head = _head(base, run, "adapter", named=hf_path is not None, library="peft" if peft else "mlx")
    name = public_name(base) if base else "an unknown model"
    made = f"{_kind(adapter)} for {code(name)}, made with lora_nb on MLX."
    parts = [*head, "---", "", f"# {plain(name)}, an adapter", "", made]
    if base and not peft:
        parts += ["", "## Use", "", "```sh", *_use(name), "```"]
    if run is not None:
        parts += training_section(run, step)
    return "\n".join(parts) + "\n"


def _use(base: str) -> list[str]:
    return [
        "hf download OWNER/THIS_REPOSITORY --local-dir adapters",
        f"mlx_lm.generate --model {shlex.quote(base)} --adapter-path adapters --prompt 'Hello'",
    ]


def bare_card(name: str, base: str | None, bits: float | None = None) -> str:
    """The card of a model of which nothing is known but its name and what it was made of."""
    relation = "quantized" if bits is not None and bits < _PLAIN_BITS else ""
    head = _head(base, None, relation, named=True, tags=("mlx",))
    told = f"{bits:.2f} bits per weight, " if bits is not None else ""
    made = f"{told}made with lora_nb on MLX" + (f" from {code(base)}." if base else ".")
    return "\n".join([*head, "---", "", f"# {plain(name)}", "", made]) + "\n"


def _head(
    base: str | None,
    run: RunFolder | None,
    relation: str,
    *,
    named: bool,
    library: str = "mlx",
    tags: tuple[str, ...] = ("mlx", "lora"),
) -> list[str]:
    """What the Hub reads of a card; `named` says that the base is surely a name on the Hub."""
    head = ["---", f"library_name: {library}", "pipeline_tag: text-generation", "tags:"]
    head += [f"- {tag}" for tag in tags]
    if base and (named or is_on_hub(base)):
        head.append(f"base_model: {json.dumps(base)}")
        head += [f"base_model_relation: {relation}"] if relation else []
    if run is not None and (data := data_sets(run)):
        head += ["datasets:", *(f"- {json.dumps(name)}" for name in data)]
    return head


def base_in(card: str) -> str | None:
    """The base model that a card names. Raises LoraError if what the Hub reads is damaged."""
    named = _front(card)[0].get("base_model")
    if isinstance(named, list):
        named = named[0] if named else None
    return named if isinstance(named, str) else None


def with_base(card: str, base: str) -> str:
    """The card with another base model. Raises LoraError if what the Hub reads is damaged."""
    front, rest = _front(card)
    told = yaml.safe_dump({**front, "base_model": base}, sort_keys=False, allow_unicode=True)
    return f"---\n{told}---\n{rest}"


def _front(card: str) -> tuple[dict[str, Any], str]:
    """What the Hub reads of a card, which stands between two lines of dashes, and the rest."""
    found = re.match(
        r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|$)", card, re.DOTALL | re.MULTILINE
    )
    if found is None:
        return {}, card
    try:
        told = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as problem:
        line = getattr(getattr(problem, "problem_mark", None), "line", 0) + 2
        raise LoraError(f"{CARD}, line {line}: what the Hub reads is no valid YAML.") from None
    if not isinstance(told, dict):
        raise LoraError(f"{CARD}: what stands between the dashes is no mapping.")
    return told, card[found.end() :]


def _kind(adapter: Mapping[str, Any]) -> str:
    kind = adapter.get("fine_tune_type") or ("dora" if adapter.get("use_dora") else "lora")
    return {"lora": "A LoRA adapter", "dora": "A DoRA adapter"}.get(kind, "A full fine-tuning")


def check_section(found: Fidelity) -> str:
    """The part of the card that tells how the fused model compares with what it was made of."""
    rows = [
        ("base", f"{found.base_loss:.4f}", f"{found.base_agreement:.1%}"),
        ("base and adapter", f"{found.adapter_loss:.4f}", "100.0%"),
        ("fused", f"{found.fused_loss:.4f}", f"{found.fused_agreement:.1%}"),
    ]
    head = ("model", "loss", "same likeliest token")
    lines = ["", "## Check", "", f"On {found.rows} {found.source}, {found.tokens} tokens:", ""]
    return "\n".join([*lines, *table(head, rows)]) + "\n"
