"""Pretraining of the demo's base model, on whatever `mlx.core.default_device()` is."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models.llama import Model, ModelArgs
from numpy.typing import NDArray

from lora_nb.demo.build.arrays import Rows
from lora_nb.demo.build.tokenizer import VOCABULARY

CONFIG: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
PROMPT_WEIGHT: Final = 0.1
"""Weight in the loss of tokens that the model need not learn to write."""
PEAK_RATE: Final = 2e-3
WARMUP: Final = 200
"""Steps until the learning rate is at its peak."""
REPORT: Final = 100
"""Steps between two lines of progress."""


def new_model(seed: int) -> Model:
    """Return the model with random fp32 weights."""
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(CONFIG))
    mx.eval(model.parameters())
    return model


def parameter_count(model: nn.Module) -> int:
    """Return the number of the model's parameters."""
    arrays: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    return sum(array.size for array in arrays.values())


def batches(
    rows: dict[int, Rows], tokens: int, seed: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Yield token ids and loss weights without end; a batch has one width and about `tokens`."""
    rng = np.random.default_rng(seed)
    while True:
        plan: list[tuple[int, NDArray[np.int64]]] = []
        for width, part in rows.items():
            order = rng.permutation(len(part.tokens))
            size = max(1, tokens // width)
            plan += [(width, order[i : i + size]) for i in range(0, len(order) - size + 1, size)]
        for choice in rng.permutation(len(plan)):
            width, picked = plan[choice]
            ids = rows[width].tokens[picked].astype(np.int32)
            weights = np.where(rows[width].learn[picked], 1.0, PROMPT_WEIGHT)
            yield ids, (weights * _inside(ids)).astype(np.float32)


def _inside(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where a row still is: its padding, token 0, counts once at most."""
    ended: NDArray[np.int64] = np.cumsum(ids == 0, axis=1)
    inside: NDArray[np.bool_] = (ended == 0) | ((ended == 1) & (ids == 0))
    return inside


def loss(model: Model, ids: mx.array, weights: mx.array) -> mx.array:
    """Return the weighted mean of the cross-entropy, in nats a token."""
    logits = model(ids[:, :-1])
    each = nn.losses.cross_entropy(logits, ids[:, 1:])
    kept = weights[:, 1:]
    mean: mx.array = (each * kept).sum() / kept.sum()
    return mean


def pretrain(model: Model, rows: dict[int, Rows], steps: int, tokens: int, seed: int) -> None:
    """Train the model in place for `steps` steps of about `tokens` tokens."""
    warm = optim.linear_schedule(1e-6, PEAK_RATE, WARMUP)
    cool = optim.cosine_decay(PEAK_RATE, max(1, steps - WARMUP), PEAK_RATE / 100)
    schedule = optim.join_schedules([warm, cool], [WARMUP])
    optimizer = optim.AdamW(schedule, betas=[0.9, 0.95], weight_decay=0.05)
    gradient = nn.value_and_grad(model, loss)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(ids: mx.array, weights: mx.array) -> mx.array:
        value: mx.array
        value, gradients = gradient(model, ids, weights)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return value

    start = time.perf_counter()
    seen = 0
    losses: list[mx.array] = []
    source = batches(rows, tokens, seed)
    for number in range(1, steps + 1):
        ids, weights = next(source)
        losses.append(step(mx.array(ids), mx.array(weights)))
        mx.async_eval(losses[-1], state)
        seen += ids.size
        if number % REPORT == 0 or number == steps:
            mean = mx.mean(mx.stack(losses)).item()
            losses.clear()
            rate = seen / (time.perf_counter() - start)
            print(f"step {number}/{steps}  loss {mean:.4f}  {rate:,.0f} tokens/s", flush=True)


def save_model(model: Model, folder: Path, end: int, end_of_text: int) -> None:
    """Write the weights as bf16 with config.json and generation_config.json."""
    weights = tree_map(lambda array: array.astype(mx.bfloat16), model.parameters())
    named = dict(tree_flatten(weights))
    mx.save_safetensors(str(folder / "model.safetensors"), named, metadata={"format": "pt"})
    ids = {"bos_token_id": None, "eos_token_id": end, "pad_token_id": end_of_text}
    generation = {**ids, "do_sample": False}
    for name, content in (
        ("config.json", {**CONFIG, **ids}),
        ("generation_config.json", generation),
    ):
        text = json.dumps(content, indent=2) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
