"""llama.cpp itself reads each export: the same tokens, the same probabilities, the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from lora_nb.export.gguf import write_gguf
from lora_nb.export.gguf.check import Told, ask
from lora_nb.export.gguf.write import Kind
from tests.conformance.gguf.cases import CASES
from tests.conformance.gguf.kit import ids_of, lines, make, scores_of

pytest.importorskip("xllamacpp")

COUNT = 32
# What llama.cpp looks up in a table of f16 numbers (GELU) is no more exact in f32.
EXACT = {"gemma": 1e-2, "gemma2": 1e-2, "gemma3": 1e-2, "phi2": 5e-3}


def told_of(folder: Path, kind: Kind) -> tuple[list[int], Told]:
    out = folder.parent / f"{folder.name}-{kind}.gguf"
    write_gguf(folder, out, kind=kind)
    prompts = [ids[:8] for ids in ids_of(folder, lines()) if len(ids) >= 8]
    for prompt in prompts[:8]:
        told = ask(out, lines(), prompt, COUNT, likely=True)
        # A random model may well end its text at any token.
        if len(told.greedy) == COUNT:
            return prompt, told
    raise AssertionError("all texts end early")


def compared(folder: Path, prompt: list[int], told: Told) -> tuple[float, float]:
    """The largest difference of log-probabilities, and how far greedy tokens are behind ours."""
    scores = scores_of(folder, prompt + told.greedy[:-1])[len(prompt) - 1 :]
    pairs = zip(scores, told.likely, strict=True)
    apart = [abs(ours[n] - theirs) for ours, step in pairs for n, theirs in step.items()]
    assert len(apart) >= 60
    behind = [ours.max() - ours[chosen] for ours, chosen in zip(scores, told.greedy, strict=True)]
    return float(max(apart)), float(max(behind))


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_computes_the_same(name: str, models: Path) -> None:
    case = CASES[name]
    folder = make(models, name, case.family, case.words, case.drop, **case.changes)
    expected = ids_of(folder, lines())
    assert len(expected) >= 300
    for kind, limit in (("f32", EXACT.get(name, 1e-4)), ("f16", 1e-2)):
        prompt, told = told_of(folder, kind)  # type: ignore[arg-type]
        for line, ours, theirs in zip(lines(), expected, told.tokens, strict=True):
            # transformers 5 puts no space before a space; SentencePiece and llama.cpp do.
            if case.words in ("spm", "spm-json", "unigram") and line.startswith(" "):
                continue
            assert theirs == ours, line
        assert len(told.greedy) == COUNT
        apart, behind = compared(folder, prompt, told)
        assert apart < limit, kind
        # As likely as our own choice, to within the rounding.
        assert behind < (1e-6 if kind == "f32" and name not in EXACT else limit), kind


@pytest.mark.parametrize(("kind", "limit"), [("bf16", 0.25), ("q8_0", 0.6)])
@pytest.mark.parametrize("name", ["llama-gpt2", "mixtral", "qwen2"])
def test_smaller_types_are_close(name: str, kind: Kind, limit: float, models: Path) -> None:
    case = CASES[name]
    # With all experts at work, none is chosen otherwise for the sake of a rounding.
    changes = case.changes | ({"num_experts_per_tok": 4} if name == "mixtral" else {})
    folder = make(models, f"{name}-{kind}", case.family, case.words, **changes)
    prompt, told = told_of(folder, kind)
    apart, behind = compared(folder, prompt, told)
    assert 1e-4 < apart < limit
    assert behind < limit


def test_experts_as_hugging_face_names_them(models: Path) -> None:
    case = CASES["mixtral"]
    folder = make(models, "mixtral-hf", case.family, case.words, **case.changes)
    renamed: dict[str, mx.array] = {}
    weights: Any = mx.load(str(folder / "model.safetensors"))
    parts = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    for name, weight in weights.items():
        before, found, after = name.partition(".switch_mlp.")
        for number in range(weight.shape[0] if found else 0):
            part = parts[after.removesuffix(".weight")]
            renamed[f"{before}.experts.{number}.{part}.weight"] = mx.contiguous(weight[number])
        if not found:
            renamed[name] = weight
    mx.save_safetensors(str(models / "renamed.safetensors"), renamed)
    (models / "renamed.safetensors").replace(folder / "model.safetensors")
    prompt, told = told_of(folder, "f32")
    apart, behind = compared(folder, prompt, told)
    assert apart < 1e-4
    assert behind < 1e-6


def test_weights_in_bfloat16(models: Path) -> None:
    folder = make(models, "llama-bfloat16", "llama", "gpt2")
    weights: Any = mx.load(str(folder / "model.safetensors"))
    small = {name: weight.astype(mx.bfloat16) for name, weight in weights.items()}
    mx.eval(small)
    mx.save_safetensors(str(folder / "model.safetensors"), small)
    prompt, told = told_of(folder, "bf16")
    apart, behind = compared(folder, prompt, told)
    assert apart < 0.1
    assert behind < 0.1
