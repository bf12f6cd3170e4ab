"""What a model card tells of a training: its data, its options, and what came of them."""

from __future__ import annotations

from typing import Any

from lora_nb.config import TrainConfig
from lora_nb.config.derived import scale_of
from lora_nb.export.card_text import is_on_hub, public_name, table
from lora_nb.runs.events import TestLoss, TrainLoss, ValidLoss
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.places import seen_from
from lora_nb.runs.standing import standing

__all__ = ["data_sets", "training_section"]

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


def data_sets(run: RunFolder) -> list[str]:
    """The names on the Hub of the data sets that a model was trained on."""
    return [name for name in _data_of(run) if is_on_hub(name)]


def _data_of(run: RunFolder) -> list[str]:
    """The data of a training: names, and paths that are good in any folder."""
    config = run.config
    if not isinstance(config, TrainConfig):
        return []
    given = config.hf_dataset or {"path": config.data}
    entries = given if isinstance(given, list) else [given]
    return [seen_from(run, str(entry.get("path") or entry.get("name"))) for entry in entries]


def training_section(run: RunFolder, step: int | None) -> list[str]:
    """The lines about a training, up to the step whose checkpoint is meant (None for all)."""
    config = run.config
    if not isinstance(config, TrainConfig):
        return []
    parameters = config.lora_parameters
    options: dict[str, Any] = {
        "data": ", ".join(map(public_name, _data_of(run))),
        "kind": config.fine_tune_type,
    }
    if config.fine_tune_type != "full":
        options |= {"rank": parameters.rank, "scale": scale_of(parameters)}
        options |= {"dropout": parameters.dropout}
        options |= {"layers": ", ".join(parameters.keys)} if parameters.keys else {}
    options |= {key: getattr(config, key) for key in _OPTIONS}
    rows = [(key, value) for key, value in options.items() if value is not None]
    lines = ["", "## Training", "", *table(("option", "value"), rows)]
    if metrics := _metrics(run, step):
        lines += ["", "## Results", "", *table(("measure", "value"), metrics)]
    return lines


def _metrics(run: RunFolder, step: int | None) -> list[tuple[str, Any]]:
    train: TrainLoss | None = None
    best: ValidLoss | None = None
    test: TestLoss | None = None
    last = 0
    for record in standing(run.records()):
        match record.event:
            case TrainLoss(step=at) as event:
                last = max(last, at)
                train = event if step is None or at <= step else train
            case ValidLoss(step=at) as event if step is None or at <= step:
                best = event if best is None or event.loss < best.loss else best
            case TestLoss() as event:
                test = event
    if step is not None and step < last:
        # It was tested at its end, not as it was then.
        test = None
    found: list[tuple[str, Any]] = []
    if train is not None:
        found += [("steps", train.step), ("training loss", f"{train.loss:.4f}")]
    if best is not None:
        found.append(("best validation loss", f"{best.loss:.4f} (step {best.step})"))
    if test is not None:
        found.append(("test loss", f"{test.loss:.4f} (perplexity {test.perplexity:.4f})"))
    return found
