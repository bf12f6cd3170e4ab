"""Make the reference adapters: random ones, written and computed by PEFT.

Run by hand, after a change here or for a new version of PEFT; it needs PyTorch, which the tests do
not: `python tests/conformance/export/make_reference.py [NAME ...]` (made with peft 0.21.2,
transformers 5.23.0, torch 2.13.0). They lie on the models of `families/reference`. For each name it
writes a folder under `reference/` with adapter_config.json, adapter_model.safetensors, and
reference.npz: the name of the `model`, and in fp32 the `logits` for the last ten of its tokens.

With `--check MODEL ADAPTER LOGITS` it prints how far PEFT's logits with an adapter that was
exported are from those in a .npy file.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

FOLDER = Path(__file__).resolve().parent / "reference"
MODELS = FOLDER.parent.parent / "families" / "reference"


@dataclass(frozen=True)
class Recipe:
    """A model, and what the config of its adapter says."""

    model: str
    config: dict[str, Any]


RECIPES: dict[str, Recipe] = {
    "lora": Recipe(
        "llama", {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    ),
    "dora": Recipe(
        "llama-untied",
        {
            "r": 4,
            "lora_alpha": 8,
            "use_dora": True,
            "target_modules": r".*\.self_attn\.(q|o)_proj",
        },
    ),
    "rslora": Recipe(
        "qwen2", {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": "all-linear"}
    ),
    "patterns": Recipe(
        "phi",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "dense", "fc1"],
            "rank_pattern": {"fc1": 2, r"layers\.0\.self_attn\.q_proj": 3},
            "alpha_pattern": {"dense": 2},
        },
    ),
    "blocks": Recipe(
        "gemma",
        {
            "r": 2,
            "lora_alpha": 4,
            "target_modules": ["q_proj", "up_proj"],
            "layers_to_transform": [1],
        },
    ),
    "left-out": Recipe(
        "olmo2",
        {
            "r": 2,
            "lora_alpha": 4,
            "target_modules": ["o_proj", "gate_proj"],
            "exclude_modules": ["model.layers.0.self_attn.o_proj"],
        },
    ),
    "attention": Recipe(
        "mixtral", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "o_proj"]}
    ),
    "ends": Recipe(
        "llama-untied",
        {"r": 4, "lora_alpha": 4, "target_modules": ["embed_tokens", "lm_head", "k_proj"]},
    ),
}


def model_of(name: str) -> Any:
    """The reference model in fp32."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / name
        shutil.copytree(MODELS / name, folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits_of(model: Any, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logits for the last ten tokens of the model's reference."""
    tokens = np.load(MODELS / name / "reference.npz")["tokens"]
    with torch.no_grad():
        logits = model(torch.tensor(tokens).long(), use_cache=False).logits
    found: np.ndarray[Any, np.dtype[np.float32]] = logits.float().numpy()[:, -10:]
    return found


def make(name: str, recipe: Recipe) -> None:
    """Write an adapter with weights of which none is without effect."""
    base = model_of(recipe.model)
    plain = logits_of(base, recipe.model)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **recipe.config)).eval()
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "lora_magnitude" in key:
                weight.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator))
            elif "lora_" in key:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    logits = logits_of(model, recipe.model)
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    text = (
        (folder / "adapter_config.json").read_text().replace(str(base.name_or_path), recipe.model)
    )
    (folder / "adapter_config.json").write_text(text.rstrip() + "\n")
    np.savez_compressed(folder / "reference.npz", logits=logits, model=recipe.model)
    print(f"{name}: {np.abs(logits - plain).max():.3f} from the base model")


def check(model: str, adapter: str, logits: str) -> None:
    """Print how PEFT's logits differ from those in a file."""
    theirs = logits_of(PeftModel.from_pretrained(model_of(model), adapter).eval(), model)
    print(f"{model}, {adapter}: differs by {np.abs(theirs - np.load(logits)).max():.2e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(*sys.argv[2:5])
    else:
        for each in sys.argv[1:] or RECIPES:
            make(each, RECIPES[each])
