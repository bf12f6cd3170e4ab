"""Every option, declared once: its name, type, bounds, default, group and help.

Names and defaults are those of `mlx_lm.lora` and `mlx_lm.generate` wherever the concept is the
same. Flags, YAML keys, help texts, completion and the options table are derived from here, and from
the modules for generating and for shipping beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lora_nb.config.declaring import (
    STRICT,
    Count,
    Everything,
    Fraction,
    Name,
    Number,
    Opt,
    Positive,
    RunName,
    Seed,
    Size,
    Whole,
    Words,
)

__all__ = [
    "DataConfig",
    "DataOptions",
    "FitConfig",
    "LoraParameters",
    "LrSchedule",
    "ModelOptions",
    "SweepConfig",
    "TestConfig",
    "TrainConfig",
]

Optimizer = Literal["adam", "adamw", "muon", "sgd", "adafactor"]
FineTuneType = Literal["lora", "dora", "full"]
TrainOn = Literal["all", "completions", "assistant"]
LongRows = Literal["cut", "split", "drop", "error"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoraParameters:
    """The shape of the adapter: rank, scale, dropout and the layers it is put on."""

    rank: Annotated[Count, Opt("Adapter", ("--rank",))] = 8
    """Rank of the adapter matrices."""
    scale: Annotated[Positive | None, Opt("Adapter", ("--scale",))] = None
    """Factor on the adapter's output (20 unless alpha is given)."""
    alpha: Annotated[Positive | None, Opt("Adapter", ("--alpha",))] = None
    """The other way to say scale: scale = alpha / rank."""
    dropout: Annotated[Fraction, Opt("Adapter", ("--dropout",))] = 0.0
    """Dropout on the adapter's input, 0 to below 1."""
    keys: Annotated[list[str] | None, Opt("Adapter", ("--keys",), metavar="KEY,KEY")] = None
    """Layers inside a block to adapt, e.g. self_attn.q_proj (every linear layer if not given)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LrSchedule:
    """A learning-rate schedule of mlx.optimizers, with an optional warm-up."""

    name: Literal["cosine_decay", "exponential_decay", "linear_schedule", "step_decay"]
    """Schedule function of mlx.optimizers."""
    arguments: list[Number]
    """Its arguments in order, the initial learning rate first."""
    warmup: Size = 0
    """Steps of linear warm-up before it."""
    warmup_init: Annotated[Number, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Learning rate at which the warm-up starts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelOptions:
    """Which model is meant."""

    model: Annotated[str, Field(min_length=1), Opt("Model", completes="model")] = "Qwen/Qwen3-0.6b"
    """Model: a folder, a Hugging Face repository, or 'demo' for the embedded one."""
    trust_remote_code: Annotated[bool, Opt("Model")] = False
    """Allow code that comes with the model or tokenizer to run, if --trust-sha256 agrees to it."""
    trust_sha256: Annotated[Words | None, Opt("Model", metavar="FILE:SHA256,...")] = None
    """The files of code you have read and agree to run, each with the sha256 of its content."""
    chat_template: Annotated[Name | None, Opt("Model", completes="path")] = None
    """A Jinja file to use as chat template (if not given the model's own, else ChatML)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataOptions:
    """Which rows are meant, and how they become tokens."""

    data: Annotated[str, Field(min_length=1), Opt("Data", completes="data")] = (
        "mlx-community/WikiSQL"
    )
    """Data: a folder with train/valid/test .jsonl files, a Hugging Face data set, or 'demo'."""
    hf_dataset: Annotated[dict[str, Any] | list[dict[str, Any]] | None, Opt("Data", flag=False)] = (
        None
    )
    """Hugging Face data sets with their splits and feature names, as in mlx-lm's YAML."""
    split: Annotated[str | None, Opt("Data", metavar="0.9/0.05/0.05")] = None
    """Make train, valid and test out of the train rows, by these shares (test may be left out)."""
    split_seed: Annotated[Seed, Opt("Data")] = 0
    """Seed of --split, apart from --seed so that all runs are tested on the same rows."""
    mask_prompt: Annotated[bool, Opt("Data")] = False
    """Leave the prompt out of the loss (prompt mask)."""
    train_on: Annotated[TrainOn | None, Opt("Data")] = None
    """Trained tokens: all (default), completions (as --mask-prompt), or the assistant's turns."""
    prompt_feature: Annotated[Name, Opt("Data", metavar="KEY")] = "prompt"
    """Key of the prompt in completions rows."""
    completion_feature: Annotated[Name, Opt("Data", metavar="KEY")] = "completion"
    """Key of the completion in completions rows."""
    chat_feature: Annotated[Name, Opt("Data", metavar="KEY")] = "messages"
    """Key of the messages in chat rows."""
    text_feature: Annotated[Name, Opt("Data", metavar="KEY")] = "text"
    """Key of the text in text rows."""
    max_seq_length: Annotated[Whole, Field(ge=2), Opt("Data")] = 2048
    """Longest row in tokens; --long-rows says what happens to longer ones."""
    long_rows: Annotated[LongRows, Opt("Data")] = "cut"
    """Rows over --max-seq-length: cut, split into several rows, drop, or error."""
    batch_size: Annotated[Count, Opt("Data")] = 4
    """Rows in a batch."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig(ModelOptions, DataOptions):
    """Look at data as training will see it: findings, token statistics, rows and masks."""

    # Without a model there are no tokens to count, but much to say about the rows.
    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Model whose tokenizer and template turn rows into tokens (none: rows only)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunOptions:
    """What a run is called and how its randomness starts."""

    name: RunName = None
    """Name of the run (made from model and data if not given)."""
    seed: Annotated[Seed, Opt("Run")] = 0
    """Seed of everything random in the run."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(ModelOptions, DataOptions, RunOptions):
    """Fine-tune a model with LoRA, QLoRA, DoRA or in full."""

    train: Annotated[bool, Opt("Training")] = True
    """Train (mlx-lm's key; %lora_test is the way to only test)."""
    fine_tune_type: Annotated[FineTuneType, Opt("Adapter")] = "lora"
    """Kind of fine-tuning: lora, dora, or full."""
    num_layers: Annotated[Whole | None, Opt("Adapter", ("--lora-layers",))] = None
    """Blocks to fine-tune, the last ones; -1 for all (if not given 16, or all of a smaller one)."""
    lora_parameters: Annotated[LoraParameters, Opt("Adapter")] = LoraParameters()
    """Rank, scale, dropout and keys of the adapter."""
    packing: Annotated[bool, Opt("Training")] = False
    """Put several short rows into one sequence of --max-seq-length tokens; none sees another."""
    optimizer: Annotated[Optimizer, Opt("Training")] = "adam"
    """Optimizer: adam, adamw, muon, sgd or adafactor."""
    optimizer_config: Annotated[dict[str, dict[str, Any]], Opt("Training", flag=False)] = Field(
        default_factory=dict
    )
    """Arguments of each optimizer by its name, e.g. {adamw: {weight_decay: 0.01}}."""
    learning_rate: Annotated[Positive, Opt("Training", on_resume=True)] = 1e-5
    """Learning rate (the start of it where a schedule is given)."""
    lr_schedule: Annotated[LrSchedule | None, Opt("Training", flag=False)] = None
    """Schedule, e.g. {name: cosine_decay, arguments: [1e-5, 1000], warmup: 100}."""
    iters: Annotated[Count | None, Opt("Training", on_resume=True)] = None
    """Steps to train for (1000 unless --epochs is given)."""
    epochs: Annotated[Positive | None, Opt("Training", on_resume=True)] = None
    """Passes over the training rows, instead of --iters."""
    grad_accumulation_steps: Annotated[Count, Opt("Training")] = 1
    """Steps whose gradients are gathered for one update."""
    max_grad_norm: Annotated[Positive | None, Opt("Training")] = None
    """Clip the gradient to this norm (it is not clipped if not given)."""
    grad_checkpoint: Annotated[bool, Opt("Memory", on_resume=True)] = False
    """Recompute activations in the backward pass to save memory."""
    trunk_cache: Annotated[
        Literal["auto", "memory", "disk", "off"], Opt("Memory", on_resume=True)
    ] = "auto"
    """Keep what the frozen blocks compute for each row: in memory, on disk, or as fits (auto)."""
    trunk_cache_limit: Annotated[Whole | str, Opt("Memory", metavar="BYTES", on_resume=True)] = (
        "32GB"
    )
    """Largest trunk cache: bytes, or e.g. 500M or 2GB."""
    fit: Annotated[Literal["auto", "check", "off"], Opt("Memory", on_resume=True)] = "auto"
    """Try before training whether it fits into memory: if in doubt (auto), always, or never."""
    clear_cache_threshold: Annotated[
        Whole | str | None, Opt("Memory", metavar="BYTES", on_resume=True)
    ] = None
    """Empty the allocator's cache after a step if it is larger: bytes, or e.g. 500M or 2GB."""
    val_batches: Annotated[Everything, Opt("Evaluation", on_resume=True)] = 25
    """Batches of a validation; -1 for all rows, 0 for none."""
    steps_per_report: Annotated[Count, Opt("Evaluation", on_resume=True)] = 10
    """Steps between two reports of the training loss."""
    steps_per_eval: Annotated[Count, Opt("Evaluation", on_resume=True)] = 200
    """Steps between two validations."""
    early_stop: Annotated[Count | None, Opt("Evaluation", metavar="N", on_resume=True)] = None
    """Stop once the validation loss has not fallen for this many validations in a row."""
    early_stop_delta: Annotated[
        Annotated[Number, Field(ge=0, allow_inf_nan=False)], Opt("Evaluation", on_resume=True)
    ] = 0.0
    """A validation loss counts as fallen if it is below the lowest by more than this, in nats."""
    test: Annotated[bool, Opt("Evaluation", on_resume=True)] = False
    """Also compute loss and perplexity on the test rows at the end."""
    test_batches: Annotated[Everything, Opt("Evaluation", on_resume=True)] = 500
    """Batches of the test; -1 for all rows."""
    adapter_path: Annotated[
        str, Field(min_length=1), Opt("Run", completes="path", on_resume=True)
    ] = "adapters"
    """Folder that receives the trained adapter."""
    overwrite: Annotated[bool, Opt("Run", on_resume=True)] = False
    """Replace the adapter that another run has left in --adapter-path."""
    save_every: Annotated[Count, Opt("Run", on_resume=True)] = 100
    """Steps between two checkpoints; the best validation makes one, too."""
    publish: Annotated[Literal["last", "best"], Opt("Run", on_resume=True)] = "last"
    """Which checkpoint --adapter-path gets: the last, or that of the best validation."""
    keep_checkpoints: Annotated[Count | None, Opt("Run", metavar="N", on_resume=True)] = None
    """Keep this many of the newest checkpoints, and the best one (all if not given)."""
    resume_adapter_file: Annotated[Name | None, Opt("Run", completes="adapter")] = None
    """Adapter weights to start from: an adapters.safetensors, an adapter folder or a run."""
    report_to: Annotated[str | None, Opt("Run", metavar="SERVICE,SERVICE", on_resume=True)] = None
    """Also report to wandb, swanlab, or both."""
    project_name: Annotated[str | None, Opt("Run", metavar="NAME", on_resume=True)] = None
    """Name of the project at the services of --report-to."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitConfig(TrainConfig):
    """Try whether a training fits into memory, how long it takes, and what to change if not."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SweepConfig(TrainConfig):
    """Train once with each combination of several values, one training after another."""

    sweep: Annotated[dict[str, list[Any]], Opt("Sweep", flag=False)] = Field(default_factory=dict)
    """The options that are swept, each with a list of its values."""
    # With no other named, each trial publishes inside the sweep's run.
    adapter_path: Annotated[str | None, Opt("Run", completes="path")] = None  # type: ignore[assignment]
    """Folder that receives a folder for each trial's adapter (in the sweep's run if not given)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TestConfig(ModelOptions, DataOptions, RunOptions):
    """Loss and perplexity on the test rows, of a model with or without an adapter."""

    adapter_path: Annotated[str | None, Opt("Model", completes="adapter")] = None
    """Adapter folder or run to test (the base model if not given)."""
    test_batches: Annotated[Everything, Opt("Evaluation")] = 500
    """Batches of the test; -1 for all rows."""
