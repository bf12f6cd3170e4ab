"""The same shapes and rows by PEFT on PyTorch: `python -m benchmarks.peft_torch [--case ...]`.

A model of random bf16 weights is made on the GPU, its last layers get LoRA of rank 8 on all seven
of their matrices, as `mlx_lm.lora` does by default, and it trains under bf16 autocast, as the
Trainer with `bf16=True` does, on rows padded to the longest of their batch. Printed and kept are
trained tokens per second without the first steps, and the peak of memory. Needs torch,
transformers and peft, and no MLX.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.random_models import model_config, rows
from lora_nb.demo import MODEL_PATH

CASES = ("mistral-7b:4:4", "mistral-7b:4:64", "mistral-7b:16:4", "mistral-7b:16:64")
WARM_UP = 8
STEPS = 16
# A shape that is new costs PyTorch a fifth of a second, and small batches have many shapes.
SMALL = 16
MORE = 4
# As many as the other benchmark's.
LEAST_ROWS = 192


def main() -> None:
    """Measure, print, and keep the figures."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="SHAPE:LAYERS:BATCH")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "machine": {"gpu": _device(torch)}
        | {name: version(name) for name in ("torch", "transformers", "peft")},
        "cases": [],
    }
    for case in arguments.case or CASES:
        shape, layers, batch = case.split(":")[:3]
        found["cases"].append(told := {"case": case} | _measured(shape, int(layers), int(batch)))
        print(json.dumps({key: told[key] for key in told if key != "seconds"}), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def _device(torch: Any) -> str:
    return str(torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")


def _measured(shape: str, layers: int, batch: int) -> dict[str, Any]:
    import torch

    try:
        return _trained(shape, layers, batch)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _trained(shape: str, layers: int, batch: int) -> dict[str, Any]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _model(shape, layers, device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    batches = _batches(batch)
    more = MORE if batch < SMALL else 1
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    tokens, seconds, losses = 0, [], []
    for step in range(more * (WARM_UP + STEPS)):
        given, count = next(batches)
        given = {name: values.to(device) for name, values in given.items()}
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = model(**given).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step >= more * WARM_UP:
            seconds.append(time.perf_counter() - started)
            tokens += count
    return {
        "tokens_per_second": tokens / sum(seconds),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0,
        "loss": losses[-1],
        "tokens_a_row": tokens / len(seconds) / batch,
        "seconds": seconds,
    }


def _model(shape: str, layers: int, device: str) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    about = model_config(shape)
    keys = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim",
        "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
        "tie_word_embeddings", "rms_norm_eps",
    )  # fmt: skip
    config = LlamaConfig(**{key: about[key] for key in keys}, attn_implementation="sdpa")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(before)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight.shape[-1] ** -0.5)
    model.config.use_cache = False
    depth = about["num_hidden_layers"]
    lora = LoraConfig(
        r=8,
        lora_alpha=160,
        target_modules=[
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        ],
        layers_to_transform=list(range(depth - layers, depth)),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    tuned = get_peft_model(model, lora)
    tuned.train()
    return tuned


def _batches(size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Shuffled batches without end, padded, with their trained tokens."""
    import torch

    encoded = _encoded(max(LEAST_ROWS, 12 * size))
    shuffled = random.Random(0)  # noqa: S311 (an order of rows)
    while True:
        order = shuffled.sample(range(len(encoded)), len(encoded))
        for start in range(0, len(order) - size + 1, size):
            some = [encoded[number] for number in order[start : start + size]]
            longest = max(len(ids) for ids, _ in some)
            ids = torch.zeros(size, longest, dtype=torch.long)
            labels = torch.full((size, longest), -100)
            for place, (row, prompt) in enumerate(some):
                ids[place, : len(row)] = torch.tensor(row)
                labels[place, prompt : len(row)] = torch.tensor(row[prompt:])
            mask = labels.new_zeros(size, longest)
            for place, (row, _) in enumerate(some):
                mask[place, : len(row)] = 1
            count = int((labels[:, 1:] != -100).sum())
            yield {"input_ids": ids, "labels": labels, "attention_mask": mask}, count


def _encoded(count: int) -> list[tuple[list[int], int]]:
    """Token ids of rows as chats, and the length of each one's prompt."""
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast.from_pretrained(MODEL_PATH)
    with tempfile.TemporaryDirectory() as name:
        lines = (rows(Path(name, "rows"), count, paired=True) / "train.jsonl").read_text()
    found = []
    for row in map(json.loads, lines.splitlines()):
        asked = [{"role": "user", "content": row["prompt"]}]
        answered = [*asked, {"role": "assistant", "content": row["completion"]}]
        prompt = words.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        found.append((words.apply_chat_template(answered, return_dict=False), len(prompt)))
    return found


if __name__ == "__main__":
    main()
