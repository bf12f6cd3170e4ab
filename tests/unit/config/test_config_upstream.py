"""Our options beside those of `mlx_lm.lora` and `mlx_lm.generate`."""

from __future__ import annotations

from pathlib import Path

from lora_nb.config import GenerateConfig, LrSchedule, TrainConfig, flags_of, load, parse_flags
from lora_nb.config.derived import DEFAULT_ITERS, DEFAULT_LAYERS, DEFAULT_SCALE, bytes_of, scale_of
from lora_nb.config.fields import specs_of
from lora_nb.config.flags import flag_table
from tests.unit.config.conftest import Upstream

EXAMPLE = """
# The path to the local model directory or Hugging Face repo.
model: "mlx-community/Llama-3.2-1B-Instruct"

# Whether or not to train (boolean)
train: true

# The fine-tuning method: "lora", "dora", or "full".
fine_tune_type: lora

# The Optimizer with its possible inputs
optimizer: adamw
optimizer_config:
  adamw:
    betas: [0.9, 0.98]
    eps: 1e-6
    weight_decay: 0.05
    bias_correction: true

# Directory with {train, valid, test}.jsonl files
data: "mlx-community/WikiSQL"

# The PRNG seed
seed: 0

# Number of layers to fine-tune
num_layers: 16

# Minibatch size.
batch_size: 4

# Iterations to train for.
iters: 1000

# Number of validation batches, -1 uses the entire validation set.
val_batches: 25

# Adam learning rate.
learning_rate: 1e-5

# Whether to report the logs to WandB
# report_to: wandb
# project_name: "Add custom"

# Number of training steps between loss reporting.
steps_per_report: 10

# Number of training steps between validations.
steps_per_eval: 200

# Load path to resume training with the given adapter weights.
resume_adapter_file: null

# Save/load path for the trained adapter weights.
adapter_path: "adapters"

# Save the model every N iterations.
save_every: 100

# Evaluate on the test set after training
test: false

# Number of test set batches, -1 uses the entire test set.
test_batches: 100

# Maximum sequence length.
max_seq_length: 2048

# Use gradient checkpointing to reduce memory use.
grad_checkpoint: false

# LoRA parameters can only be specified in a config file
lora_parameters:
  # The layer keys to apply LoRA to.
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0

# Schedule can only be specified in a config file
lr_schedule:
  name: cosine_decay
  warmup: 100 # 0 for no warmup
  warmup_init: 1e-7 # 0 if not specified
  arguments: [1e-5, 1000, 1e-7] # passed to scheduler

hf_dataset:
  path: "billsum"
  prompt_feature: "text"
  completion_feature: "summary"
"""

# What stands for a default of mlx-lm's that two of our options share, or that we changed.
_SPOKEN = {
    "num_layers": DEFAULT_LAYERS,
    "iters": DEFAULT_ITERS,
}
# The verb says whether to train; every optimizer's arguments are empty if not given; and the
# cache is left alone unless a limit is given.
_OTHERWISE = {"train": True, "optimizer_config": {}, "clear_cache_threshold": None}


def test_every_key_of_mlx_lm_is_an_option_here_with_the_same_default(upstream: Upstream) -> None:
    ours = {spec.key: spec.default for spec in specs_of(TrainConfig)}
    wanted = {key: value for key, value in upstream.defaults.items() if key != "config"}

    assert set(wanted) <= set(ours)
    for key, value in wanted.items():
        if key == "lora_parameters":
            inner = ours[key]
            assert {"rank": inner.rank, "dropout": inner.dropout, "scale": scale_of(inner)} == value
        elif key in _OTHERWISE:
            assert ours[key] == _OTHERWISE[key]
        elif ours[key] is None and key in _SPOKEN:
            assert _SPOKEN[key] == value
        else:
            assert ours[key] == value, key
    assert upstream.defaults["lora_parameters"]["scale"] == DEFAULT_SCALE


def test_every_flag_of_mlx_lm_lora_works_here(upstream: Upstream) -> None:
    table = flag_table(flags_of(TrainConfig))
    for key, flag in upstream.train.items():
        for name in flag["names"]:
            assert name in table, name
            assert table[name][0].path == (key,)
        if flag["choices"]:
            assert list(table[flag["names"][0]][0].choices) == flag["choices"]


def test_flags_of_mlx_lm_generate_have_the_same_defaults_here(upstream: Upstream) -> None:
    # Not offered: pictures, caches in files, drafts, and what the notebook shows by itself.
    left_out = {
        "chat_template_config", "draft_model", "image", "num_draft_tokens", "prompt_cache_file",
        "quantize_activations", "use_default_chat_template", "verbose",
    }  # fmt: skip
    ours = {spec.key: spec.default for spec in specs_of(GenerateConfig)}
    table = flag_table(flags_of(GenerateConfig))
    offered = {key: flag for key, flag in upstream.generate.items() if key not in left_out}

    assert set(offered) <= set(ours)
    for key, flag in offered.items():
        assert all(name in table for name in flag["names"])
        if key not in ("model", "prompt", "extra_eos_token"):
            assert ours[key] == flag["default"], key


def test_the_older_name_of_num_layers_is_understood() -> None:
    parsed = parse_flags(["--lora-layers", "4"], flags_of(TrainConfig))
    assert load(TrainConfig, flags=parsed.values).num_layers == 4


def test_an_example_of_mlx_lm_loads_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "lora_config.yaml"
    file.write_text(EXAMPLE)

    config = load(TrainConfig, file=file)

    assert config.learning_rate == 1e-5
    assert config.optimizer_config == {
        "adamw": {"betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.05, "bias_correction": True}
    }
    assert config.lr_schedule == LrSchedule(
        name="cosine_decay", arguments=[1e-5, 1000, 1e-7], warmup=100, warmup_init=1e-7
    )
    assert config.lora_parameters.keys == ["self_attn.q_proj", "self_attn.v_proj"]
    assert config.hf_dataset == {
        "path": "billsum",
        "prompt_feature": "text",
        "completion_feature": "summary",
    }
    assert config.test_batches == 100


def test_sizes_mean_what_they_mean_in_mlx_lm() -> None:
    sizes = {"0": 0, "123": 123, "1.5M": 1_500_000, "2 GB": 2 * 10**9, "500mb": 5 * 10**8}
    assert {text: bytes_of(text) for text in sizes} == sizes
