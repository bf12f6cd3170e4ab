"""The model card of a fused model: what it was made of and how, without a place or a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lora_nb.config import TrainConfig
from lora_nb.config.rules import scale_of
from lora_nb.data.sources import looks_like_path
from lora_nb.redact import redacted
from lora_nb.runs.events import Fidelity, TestLoss, TrainLoss, ValidLoss
from lora_nb.runs.folder import RunFolder

__all__ = ["CARD", "check_section", "is_on_hub", "model_card", "public_name"]

CARD = "README.md"

_OPTIONS = (
    "num_layers",
    "optimizer",
    "learning_rate",
    "batch_size",
    "grad_accumulation_steps",
    "iters",
    "epochs",
    "max_seq_length",
    "mask_prompt",
    "train_on",
    "seed",
)


def public_name(name: str) -> str:
    """A model or data set by its name on the Hub, or by the last part of its path."""
    if looks_like_path(name) or Path(name).expanduser().exists():
        return redacted(Path(name).expanduser().absolute().name)
    return redacted(name)


def is_on_hub(name: str) -> bool:
    """Whether a name is one of the Hub, owner and all."""
    return public_name(name) == name and name.count("/") == 1


def model_card(base: str, adapter: Mapping[str, Any], run: RunFolder | None, bits: float) -> str:
    """The card in Markdown. `adapter` is its config, `run` the training if it is known."""
    head = ["---", "library_name: mlx", "pipeline_tag: text-generation", "tags:", "- mlx", "- lora"]
    if is_on_hub(base):
        head.append(f"base_model: {json.dumps(base)}")
    if run is not None and is_on_hub(data := str(getattr(run.config, "data", ""))):
        head += ["datasets:", f"- {json.dumps(data)}"]
    made = (
        f"{_kind(adapter)} on {_code(public_name(base))}, fused into its weights "
        f"({bits:.2f} bits per weight) with lora_nb on MLX."
    )
    parts = [*head, "---", "", f"# {_plain(public_name(base))}, fine-tuned", "", made]
    if run is not None:
        parts += _training(run)
    return "\n".join(parts) + "\n"


def _kind(adapter: Mapping[str, Any]) -> str:
    kind = adapter.get("fine_tune_type") or ("dora" if adapter.get("use_dora") else "lora")
    return {"lora": "A LoRA adapter", "dora": "A DoRA adapter"}.get(kind, "A full fine-tuning")


def _training(run: RunFolder) -> list[str]:
    config = run.config
    if not isinstance(config, TrainConfig):
        return []
    parameters = config.lora_parameters
    options: dict[str, Any] = {"data": public_name(config.data), "kind": config.fine_tune_type}
    if config.fine_tune_type != "full":
        options |= {"rank": parameters.rank, "scale": scale_of(parameters)}
        options |= {"dropout": parameters.dropout}
        options |= {"layers": ", ".join(parameters.keys)} if parameters.keys else {}
    options |= {key: getattr(config, key) for key in _OPTIONS}
    rows = [(key, value) for key, value in options.items() if value is not None]
    lines = ["", "## Training", "", *_table(("option", "value"), rows)]
    if metrics := _metrics(run):
        lines += ["", "## Results", "", *_table(("measure", "value"), metrics)]
    return lines


def _metrics(run: RunFolder) -> list[tuple[str, Any]]:
    train: TrainLoss | None = None
    best: ValidLoss | None = None
    test: TestLoss | None = None
    for record in run.records():
        match record.event:
            case TrainLoss() as event:
                train = event
            case ValidLoss() as event if best is None or event.loss < best.loss:
                best = event
            case TestLoss() as event:
                test = event
    found: list[tuple[str, Any]] = []
    if train is not None:
        found += [("steps", train.step), ("training loss", f"{train.loss:.4f}")]
    if best is not None:
        found.append(("best validation loss", f"{best.loss:.4f} (step {best.step})"))
    if test is not None:
        found.append(("test loss", f"{test.loss:.4f} (perplexity {test.perplexity:.4f})"))
    return found


def check_section(found: Fidelity) -> str:
    """The part of the card that tells how the fused model compares with what it was made of."""
    rows = [
        ("base", f"{found.base_loss:.4f}", f"{found.base_agreement:.1%}"),
        ("base and adapter", f"{found.adapter_loss:.4f}", "100.0%"),
        ("fused", f"{found.fused_loss:.4f}", f"{found.fused_agreement:.1%}"),
    ]
    head = ("model", "loss", "same likeliest token")
    lines = ["", "## Check", "", f"On {found.rows} {found.source}, {found.tokens} tokens:", ""]
    return "\n".join([*lines, *_table(head, rows)]) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_plain(str(cell)) for cell in row)} |" for row in rows]


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing but text."""
    kept = " ".join(redacted(text).split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>|#" else char for char in kept)


def _code(text: str) -> str:
    return f"`{' '.join(text.split()).replace('`', '')}`"
