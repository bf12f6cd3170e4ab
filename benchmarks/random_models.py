"""Models of random weights in the shapes that benchmarks train, and rows like WikiSQL's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lora_nb.demo import DATA_PATH, MODEL_PATH

__all__ = ["SHAPES", "model_config", "random_model", "rows"]

SHAPES: dict[str, dict[str, Any]] = {
    "demo": {},
    "100m": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "vocab_size": 16384,
    },
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    },
    "mistral-7b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    },
}


# Of quantised weights, as `mlx_lm.convert -q` makes them by default.
GROUP = 64


def random_model(folder: Path, shape: str, bits: int = 0) -> Path:
    """A Llama of a shape of `SHAPES`, with the tokenizer of the embedded model.

    Its weights are bf16; with `bits`, those of its matrices are quantised to that many.
    """
    import mlx.core as mx

    folder.mkdir(parents=True)
    for path in MODEL_PATH.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, folder / path.name)
    config = model_config(shape)
    if bits:
        config["quantization"] = {"group_size": GROUP, "bits": bits}
    (folder / "config.json").write_text(json.dumps(config))
    weights: dict[str, mx.array] = {}
    mx.random.seed(0)
    for name, sizes in _shapes(config).items():
        if len(sizes) == 1:
            weights[name] = mx.ones(sizes, mx.bfloat16)
            continue
        weight = mx.random.normal(sizes, mx.bfloat16, scale=sizes[-1] ** -0.5)
        if bits:
            base = name.removesuffix("weight")
            packed, scales, biases = mx.quantize(weight, GROUP, bits)
            made = {name: packed, f"{base}scales": scales, f"{base}biases": biases}
        else:
            made = {name: weight}
        mx.eval(made)
        weights |= made
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    return folder


def model_config(shape: str) -> dict[str, Any]:
    """The config.json of a shape of `SHAPES`."""
    config: dict[str, Any] = json.loads((MODEL_PATH / "config.json").read_text()) | SHAPES[shape]
    config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    config["max_position_embeddings"] = 4096
    return config


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries = config["num_attention_heads"] * head
    keys = config["num_key_value_heads"] * head
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], width),
        "model.norm.weight": (width,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    for number in range(config["num_hidden_layers"]):
        block = f"model.layers.{number}."
        shapes |= {
            f"{block}self_attn.q_proj.weight": (queries, width),
            f"{block}self_attn.k_proj.weight": (keys, width),
            f"{block}self_attn.v_proj.weight": (keys, width),
            f"{block}self_attn.o_proj.weight": (width, queries),
            f"{block}mlp.gate_proj.weight": (inner, width),
            f"{block}mlp.up_proj.weight": (inner, width),
            f"{block}mlp.down_proj.weight": (width, inner),
            f"{block}input_layernorm.weight": (width,),
            f"{block}post_attention_layernorm.weight": (width,),
        }
    return shapes


def rows(folder: Path, count: int, *, words: int | None = None, paired: bool = False) -> Path:
    """The first rows of the embedded data, as often as needed, as a folder with train rows alone.

    With `words` they are plain text of about that many tokens each instead; `paired`, two rows
    make one, the second being the completion: as long as WikiSQL's, and half of it trained.
    """
    folder.mkdir(parents=True)
    lines = (DATA_PATH / "train.jsonl").read_text().splitlines()
    with (folder / "train.jsonl").open("w") as file:
        for number in range(count):
            line = lines[number % len(lines)]
            if words is not None:
                text = " ".join(str((number * 7 + place) % 10) for place in range(words))
                line = json.dumps({"text": text})
            elif paired:
                line = _paired(line, lines[(number * 7 + 3) % len(lines)])
            file.write(line + "\n")
    return folder


def _paired(first: str, second: str) -> str:
    prompt, completion = (
        f"{row['prompt']}\nA: {row['completion']}" for row in map(json.loads, (first, second))
    )
    return json.dumps({"prompt": prompt, "completion": completion})
