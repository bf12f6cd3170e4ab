"""The reference models as folders, with a tokenizer of single characters and rows to train on."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from lora_nb.config import ConvertConfig, ModelOptions, TrainConfig, load
from lora_nb.core.batching import Split
from lora_nb.core.convert import Converted, converted
from lora_nb.core.load import Loaded, load_base, load_words
from lora_nb.core.model_folder import check_target, write_model
from lora_nb.data.prepare import prepare
from lora_nb.data.sources import open_splits
from lora_nb.data.templates import resolve_template
from lora_nb.data.tokens import Encoder
from tests.tiny import write_rows

REFERENCE = Path(__file__).resolve().parent / "reference"
NAMES = sorted(path.name for path in REFERENCE.iterdir())
# One of each family, those with weights of their own that mlx-lm can train.
FAMILIES = [
    "gemma",
    "gemma2",
    "gemma3_text",
    "llama-llama3",
    "llama-untied",
    "mistral",
    "mixtral",
    "olmo",
    "olmo-ai2-tied",
    "olmo2",
    "phi",
    "phi3-long",
    "qwen2",
    "qwen3",
]
VOCAB = 96
TOLERANCE = 1e-4

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_CHARACTERS = (
    "\n !#%&()*+,-./0123456789:;<=>?_|ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def model_folder(base: Path, name: str, **changes: Any) -> Path:
    """A reference model with its weights and a tokenizer; `changes` go into its config."""
    folder = base / name
    if not folder.exists():
        shutil.copytree(REFERENCE / name, folder)
        weights = str(np.load(folder / "reference.npz")["weights"]) or name
        shutil.copyfile(REFERENCE / weights / "model.safetensors", folder / "model.safetensors")
        write_tokenizer(folder)
    if changes:
        config = json.loads((REFERENCE / name / "config.json").read_text())
        kept = {key: value for key, value in (config | changes).items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(kept))
    return folder


def write_tokenizer(folder: Path) -> None:
    """A token for each character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    words = {word: number for number, word in enumerate((*_SPECIAL, *_CHARACTERS))}
    assert len(words) <= VOCAB
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.add_special_tokens(list(_SPECIAL))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@functools.cache
def rows_folder(base: Path) -> Path:
    """A few short rows of prompt and completion."""
    folder = base / "family-rows"
    folder.mkdir()
    for split, count in (("train", 8), ("test", 2)):
        rows = ({"prompt": f"{n}+{n}?", "completion": f"is {2 * n}, n = {n}"} for n in range(count))
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


def config_of(model: Path, **options: Any) -> TrainConfig:
    """Options of a short training."""
    usual: dict[str, Any] = {
        "model": str(model),
        "data": str(rows_folder(model.parent)),
        "batch_size": 4,
        "iters": 4,
        "steps_per_report": 1,
        "learning_rate": 3e-3,
        "val_batches": 0,
    }
    return load(TrainConfig, flags=usual | options)


def split_of(config: TrainConfig, name: str = "train") -> Split:
    """The rows of a split in batches, as a run would train on them."""
    tokenizer = load_words(Path(config.model), config)
    encoder = Encoder(tokenizer, config, resolve_template(tokenizer, None))
    splits = dict(open_splits(config, [name]).items())
    return Split.of(prepare(splits[name], encoder), config.batch_size, config.seed, shuffle=True)


def loaded(folder: Path, *, as_is: bool = False) -> Loaded:
    """The model of a folder."""
    return load_base(folder, ModelOptions(model=str(folder)), as_is=as_is)


def tokens_of(name: str) -> mx.array:
    """The tokens of a reference: [1, 20]."""
    return mx.array(np.load(REFERENCE / name / "reference.npz")["tokens"])


def wanted(name: str) -> NDArray[np.float32]:
    """The logits of transformers for the last ten of them."""
    found: NDArray[np.float32] = np.load(REFERENCE / name / "reference.npz")["logits"]
    return found


def logits_of(model: nn.Module, tokens: mx.array) -> NDArray[np.float32]:
    """The model's logits for the last ten tokens."""
    return np.array(model(tokens)[:, -10:].astype(mx.float32))


def error(model: nn.Module, name: str) -> float:
    """The largest difference from the logits of transformers."""
    return distance(logits_of(model, tokens_of(name)), wanted(name))


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The largest difference."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def convert(folder: Path, target: Path, **options: Any) -> Converted:
    """Convert a model in this process; the model that is returned is used up."""
    flags = {"model": str(folder), "mlx_path": str(target), **options}
    config = load(ConvertConfig, flags=flags)
    made = converted(loaded_lazily(folder), config)
    write_model(made, folder, check_target(folder, config), lambda done, total: None)
    return made


def loaded_lazily(folder: Path) -> Loaded:
    """The model as a conversion loads it."""
    return load_base(folder, ModelOptions(model=str(folder)), lazy=True, as_is=True)
