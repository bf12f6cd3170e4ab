"""Look at a GGUF file again: by its reader, and by llama.cpp itself in another process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np

from lora_nb.config import ModelOptions
from lora_nb.core.load import load_base, load_words
from lora_nb.errors import LoraError
from lora_nb.export.gguf import probe
from lora_nb.export.gguf.metadata import position_tables
from lora_nb.export.gguf.names import planned, read_weights
from lora_nb.export.gguf.source import read_source
from lora_nb.runs.cpus import physical_cores

__all__ = ["Checked", "Told", "ask", "check_gguf"]

_LINES = (
    "Hello world, how are you? 1234567.89",
    "  Grüße aus Köln - naïve Straße, 50 € (ca. 3 %)!",
    "日本語のテキスト и русский текст 🙂👍",
    "def f(x):\n    return x ** 2  # done\n\n",
)
_GREEDY = 16
_LONGEST_PROMPT = 24
# Models computed in bfloat16 have such gaps to themselves; a wrong file is far beyond.
_NEAR = {"f32": 0.5, "f16": 0.5, "bf16": 1.0, "q8_0": 2.0}
_LIMIT_S = 1800
_SMALL = 50_000_000


@dataclass(frozen=True)
class Told:
    """What llama.cpp says: the tokens of each line, the greedy ones, and the likeliest at each."""

    tokens: list[list[int]]
    greedy: list[int]
    likely: list[dict[int, float]]


@dataclass
class Checked:
    """The checks that were done, in words, and what was found that is no error."""

    checks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_gguf(path: Path, model_folder: Path | None = None, *, kind: str = "f16") -> Checked:
    """Check a GGUF file, against the model it was made of if its folder is given.

    Raises LoraError if it is damaged, incomplete, or if llama.cpp has other results.
    """
    shapes, fields = _read(path)
    done = Checked()
    rows = len(fields.get("tokenizer.ggml.tokens", ()))
    wanted = _wanted(model_folder) if model_folder else {"token_embd.weight": ()}
    for name, shape in wanted.items():
        if name not in shapes:
            raise LoraError(f"gguf: {path} lacks the tensor {name}.")
        if shape and shapes[name] != shape:
            raise LoraError(f"gguf: {name} in {path} has the shape {shapes[name]}, not {shape}.")
    if shapes["token_embd.weight"][0] != rows:
        raise LoraError(f"gguf: {path} has {rows} tokens for another number of embeddings.")
    done.checks.append(f"the gguf reader: {len(shapes)} tensors, {rows} tokens")
    if importlib.util.find_spec("xllamacpp") is None:
        done.notes.append("llama.cpp itself has not read the file: pip install 'lora-nb[gguf]'.")
    else:
        _check_by_llama(path, model_folder, kind, done)
    return done


def _read(path: Path) -> tuple[dict[str, tuple[int, ...]], Mapping[str, Any]]:
    """The shapes of the tensors as numpy has them, and the metadata."""
    try:
        reader = gguf.GGUFReader(path)
        shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
        fields = {name: found.data for name, found in reader.fields.items()}
    except (OSError, ValueError, IndexError, KeyError) as problem:
        raise LoraError(f"gguf: {path} can't be read: {problem}.") from None
    return shapes, fields


def _wanted(folder: Path) -> dict[str, tuple[int, ...]]:
    source = read_source(folder)
    tensors = [*position_tables(source), *planned(source, read_weights(folder))]
    return {tensor.name: tensor.shape for tensor in tensors}


def _check_by_llama(path: Path, folder: Path | None, kind: str, done: Checked) -> None:
    if folder is None:
        ask(path, _LINES[:1], [], 0)
        done.checks.append("llama.cpp: loads it")
        return
    words: Any = load_words(folder, ModelOptions(model=str(folder)))
    expected = [[int(n) for n in words.encode(line)] for line in _LINES]
    told = ask(path, _LINES, expected[0][:_LONGEST_PROMPT], _GREEDY)
    for line, ours, theirs in zip(_LINES, expected, told.tokens, strict=True):
        if ours != theirs:
            raise LoraError(
                f"gguf: {path} is written, but llama.cpp makes other tokens of {line!r}: "
                f"{theirs[:12]} in place of {ours[:12]}."
            )
    behind = _behind(folder, expected[0][:_LONGEST_PROMPT], told.greedy)
    if behind > _NEAR[kind]:
        raise LoraError(
            f"gguf: {path} is written, but llama.cpp computes something else: its likeliest "
            f"token is {behind:.3g} (log-probability) behind the model's own."
        )
    done.checks.append(
        f"llama.cpp: loads it, same tokens on {len(_LINES)} lines, "
        f"the {len(told.greedy)} tokens it takes are the model's own "
        f"(at most {behind:.2g} less likely)"
    )


def _behind(folder: Path, prompt: list[int], greedy: list[int]) -> float:
    """By how much llama.cpp's choices are less likely to our model than its own, at most."""
    if not greedy:
        return 0.0
    loaded = load_base(folder, ModelOptions(model=str(folder)))
    logits = loaded.model(mx.array([prompt + greedy[:-1]]))[0, len(prompt) - 1 :]
    scores = np.array(logits.astype(mx.float32))
    chosen = scores[np.arange(len(greedy)), np.array(greedy)]
    return float((scores.max(axis=1) - chosen).max())


def ask(
    path: Path, lines: Sequence[str], prompt: list[int], count: int, *, likely: bool = False
) -> Told:
    """Ask llama.cpp, in a process of its own. Raises LoraError if that ends without an answer."""
    question = {
        "path": str(path),
        "lines": list(lines),
        "prompt": prompt,
        "count": count,
        "likely": likely,
        # Threads wait for each other in busy loops, which small models are better without.
        "threads": 1 if path.stat().st_size < _SMALL else physical_cores(),
    }
    try:
        ended = subprocess.run(
            # Without -P its own folder would come first among the places to import from.
            [sys.executable, "-P", probe.__file__],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env=dict(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise LoraError(f"gguf: llama.cpp has not read {path} within {_LIMIT_S} seconds.") from None
    for line in ended.stdout.splitlines():
        if line.startswith(probe.MARK):
            told = json.loads(line.removeprefix(probe.MARK))
            steps = [{int(n): float(p) for n, p in step} for step in told["likely"]]
            return Told(told["tokens"], told["greedy"], steps)
    reasons = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
    reason = (reasons or ended.stderr.splitlines() or [f"status {ended.returncode}"])[0].strip()
    raise LoraError(f"gguf: {path} is written, but llama.cpp can't use it: {reason}")
