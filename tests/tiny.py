"""Tiny models with random weights, rows to train them on, and waiting with a deadline."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from lora_nb.runs.compiler import kernel_folder

Found = TypeVar("Found")

ROOT = Path(__file__).resolve().parent.parent
VOCAB = 384
WIDTH = 64
HEAD = 16
BLOCKS = 4
EOS = 2

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_COMMON: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": BLOCKS,
    "intermediate_size": 2 * WIDTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCAB,
    "max_position_embeddings": 256,
    "rope_theta": 10000.0,
    "bos_token_id": 0,
    "eos_token_id": EOS,
    "torch_dtype": "float32",
    "tie_word_embeddings": True,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"]},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False},
    "gemma": {"architectures": ["GemmaForCausalLM"], "head_dim": HEAD},
}


@functools.cache
def model_folder(base: Path, family: str = "llama", seed: int = 0, blocks: int = BLOCKS) -> Path:
    """A model of random weights in Hugging Face layout, with a byte-level ChatML tokenizer."""
    from safetensors.numpy import save_file

    folder = base / f"{family}-{seed}-{blocks}"
    folder.mkdir()
    config = {**_COMMON, **FAMILIES[family], "model_type": family, "num_hidden_layers": blocks}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_weights(config, seed), folder / "model.safetensors", metadata={"format": "mlx"})
    _write_tokenizer(folder)
    return folder


def _weights(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, WIDTH)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (VOCAB, WIDTH)
    for number in range(config["num_hidden_layers"]):
        block = f"model.layers.{number}."
        for name, rows in (("q", WIDTH), ("k", 2 * HEAD), ("v", 2 * HEAD)):
            shapes[f"{block}self_attn.{name}_proj.weight"] = (rows, WIDTH)
            if config["model_type"] == "qwen2":
                shapes[f"{block}self_attn.{name}_proj.bias"] = (rows,)
        shapes[f"{block}self_attn.o_proj.weight"] = (WIDTH, WIDTH)
        shapes[f"{block}mlp.gate_proj.weight"] = (2 * WIDTH, WIDTH)
        shapes[f"{block}mlp.up_proj.weight"] = (2 * WIDTH, WIDTH)
        shapes[f"{block}mlp.down_proj.weight"] = (WIDTH, 2 * WIDTH)
    weights = {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        for name, shape in shapes.items()
    }
    norms = ["model.norm.weight"]
    for number in range(config["num_hidden_layers"]):
        norms += [
            f"model.layers.{number}.{which}_layernorm.weight"
            for which in ("input", "post_attention")
        ]
    # Gemma's norms multiply by one more than their weight.
    norm = np.full(WIDTH, 0 if config["model_type"] == "gemma" else 1, np.float32)
    return weights | dict.fromkeys(norms, norm)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["user assistant SELECT age FROM singers how old is"] * 9, trainer)
    backend.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "model_max_length": 256,
        "chat_template": _TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@functools.cache
def data_folder(base: Path) -> Path:
    """Train, valid and test rows of prompt and completion, all of about the same length."""
    folder = base / "rows"
    folder.mkdir()
    names = ["Bob", "Ann", "Eve", "Tom", "Zoe"]
    for start, (split, count) in enumerate({"train": 48, "valid": 8, "test": 9}.items()):
        rows = (
            {
                "prompt": f"how old is {names[i % 5]}, number {1000 * start + i + 100}?",
                "completion": f"SELECT age FROM singers WHERE id = {1000 * start + i + 100}",
            }
            for i in range(count)
        )
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def until(look: Callable[[], Found], what: str, seconds: float = 60.0) -> Found:
    """The first true answer of `look`; fails after `seconds`, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} seconds for {what}")
        time.sleep(0.02)


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, from the repository's root."""
    return program(sys.executable, "-c", code, *arguments, **environment)


def program(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, from the repository's root."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def options_for(home: Path, **options: Any) -> dict[str, Any]:
    """Options of a short training of the tiny llama."""
    usual: dict[str, Any] = {
        "model": str(model_folder(home)),
        "data": str(data_folder(home)),
        "batch_size": 4,
        "num_layers": 2,
        "learning_rate": 1e-3,
        "iters": 6,
        "steps_per_report": 2,
        "val_batches": 2,
        "max_seq_length": 64,
    }
    return usual | options


@functools.cache
def finished_run(home: Path) -> Path:
    """The folder of a run of `options_for` that is over, with a checkpoint every three steps."""
    from lora_nb.config import TrainConfig
    from lora_nb.runs import attach, launch

    adapters = home / "adapters"
    options = options_for(home, save_every=3, adapter_path=str(adapters), name="finished")
    run = launch.start(TrainConfig(**options), home / "runs")
    assert attach.wait(run, 120), run.log_tail()
    assert run.status == "completed", run.log_tail()
    return run.path


@pytest.fixture(scope="session")
def finished(home: Path) -> Path:
    """The folder of a run that is over."""
    return finished_run(home)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything tiny, one for all tests of a session."""
    folder = tmp_path_factory.getbasetemp() / "tiny"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    """A tiny llama."""
    return model_folder(home)


@pytest.fixture(scope="session")
def data(home: Path) -> Path:
    """Rows for it."""
    return data_folder(home)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """MLX's kernels where workers keep theirs, so that each is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(kernel_folder()))
        yield
