"""Every option, declared once: its name, type, bounds, default, group and help.

Names and defaults are those of `mlx_lm.lora` and `mlx_lm.generate` wherever the concept is the
same. Flags, YAML keys, help texts, completion and the options table are derived from here.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError

__all__ = [
    "CompareConfig",
    "ConvertConfig",
    "DataConfig",
    "FitConfig",
    "FuseConfig",
    "GenerateConfig",
    "HubOptions",
    "LoraParameters",
    "LrSchedule",
    "Opt",
    "SweepConfig",
    "TestConfig",
    "TrainConfig",
    "UploadConfig",
]

_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)

Completes = Literal["", "path", "model", "data", "run", "adapter"]


@plain_dataclass(frozen=True)
class Opt:
    """What an option needs beside its type: group, further flag names, what TAB offers.

    `on_resume` options may change when a run goes on; the others make it another run.
    """

    group: str = "General"
    flags: tuple[str, ...] = ()
    completes: Completes = ""
    metavar: str = ""
    flag: bool = True
    on_resume: bool = False


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


def _spelled(value: Any) -> Any:
    """Text as the whole number that it spells: a choice among numbers is compared as it is."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _words(value: Any) -> Any:
    """A text of several words with commas between them as a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


# Left alone, pydantic takes true for 1.
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[Whole, Field(ge=1, lt=2**63)]
Size = Annotated[Whole, Field(ge=0, lt=2**63)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Everything = Annotated[Whole, Field(ge=-1)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Share = Annotated[Number, Field(ge=0, le=1)]

Name = Annotated[str, Field(min_length=1)]
Words = Annotated[list[str], BeforeValidator(_words)]

Optimizer = Literal["adam", "adamw", "muon", "sgd", "adafactor"]
FineTuneType = Literal["lora", "dora", "full"]
TrainOn = Literal["all", "completions", "assistant"]
LongRows = Literal["cut", "split", "drop", "error"]
QuantMode = Literal["affine", "mxfp4", "nvfp4", "mxfp8"]
Recipe = Literal["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelOptions:
    """Which model is meant."""

    model: Annotated[str, Field(min_length=1), Opt("Model", completes="model")] = "Qwen/Qwen3-0.6b"
    """Model: a folder, a Hugging Face repository, or 'demo' for the embedded one."""
    trust_remote_code: Annotated[bool, Opt("Model")] = False
    """Allow code that comes with the model or tokenizer to run, if --trust-sha256 agrees to it."""
    trust_sha256: Annotated[Words | None, Opt("Model", metavar="FILE:SHA256,...")] = None
    """The files of code you have read and agree to run, each with the sha256 of its content."""
    chat_template: Annotated[Name | None, Opt("Model", completes="path")] = None
    """A Jinja file to use as chat template (the model's own, else ChatML, if not given)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
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
    """Make train, valid and test out of the train rows, by these shares."""
    split_seed: Annotated[Seed, Opt("Data")] = 0
    """Seed of --split, apart from --seed so that all runs are tested on the same rows."""
    mask_prompt: Annotated[bool, Opt("Data")] = False
    """Leave the prompt out of the loss (prompt mask)."""
    train_on: Annotated[TrainOn | None, Opt("Data")] = None
    """Which tokens are trained: all, completions (same as --mask-prompt), every assistant turn."""
    prompt_feature: Annotated[Name, Opt("Data")] = "prompt"
    """Key of the prompt in completions rows."""
    completion_feature: Annotated[Name, Opt("Data")] = "completion"
    """Key of the completion in completions rows."""
    chat_feature: Annotated[Name, Opt("Data")] = "messages"
    """Key of the messages in chat rows."""
    text_feature: Annotated[Name, Opt("Data")] = "text"
    """Key of the text in text rows."""
    max_seq_length: Annotated[Whole, Field(ge=2), Opt("Data")] = 2048
    """Longest row in tokens; what to do with longer ones says --long-rows."""
    long_rows: Annotated[LongRows, Opt("Data")] = "cut"
    """Rows over --max-seq-length: cut, split into several rows, drop, or error."""
    batch_size: Annotated[Count, Opt("Data")] = 4
    """Rows in a batch."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig(ModelOptions, DataOptions):
    """Look at data as training will see it: findings, token statistics, rows and masks."""

    # Without a model there are no tokens to count, but much to say about the rows.
    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Model whose tokenizer and template turn rows into tokens (none: rows only)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RunOptions:
    """What a run is called and how its randomness starts."""

    name: Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")] = None
    """Name of the run (made from model and data if not given)."""
    seed: Annotated[Seed, Opt("Run")] = 0
    """Seed of everything random in the run."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig(ModelOptions, DataOptions, RunOptions):
    """Fine-tune a model with LoRA, QLoRA, DoRA or in full."""

    train: Annotated[bool, Opt("Training")] = True
    """Train (mlx-lm's key; %lora_test is the way to only test)."""
    fine_tune_type: Annotated[FineTuneType, Opt("Adapter")] = "lora"
    """Kind of fine-tuning: lora, dora, or full."""
    num_layers: Annotated[Whole | None, Opt("Adapter", ("--lora-layers",))] = None
    """Blocks to fine-tune, counted from the last; -1 for all (16, or all of a smaller model)."""
    lora_parameters: Annotated[LoraParameters, Opt("Adapter")] = LoraParameters()
    """Rank, scale, dropout and keys of the adapter."""
    packing: Annotated[bool, Opt("Training")] = False
    """Put several short rows into one sequence of --max-seq-length tokens; none sees another."""
    optimizer: Annotated[Optimizer, Opt("Training")] = "adam"
    """Optimizer: adam, adamw, muon, sgd or adafactor."""
    optimizer_config: Annotated[dict[str, dict[str, Any]], Opt("Training", flag=False)] = Field(
        default_factory=dict
    )
    """Arguments of each optimizer, keyed by its name."""
    learning_rate: Annotated[Positive, Opt("Training", on_resume=True)] = 1e-5
    """Learning rate (the start of it where a schedule is given)."""
    lr_schedule: Annotated[LrSchedule | None, Opt("Training", flag=False)] = None
    """Learning-rate schedule: name, arguments, warmup, warmup_init."""
    iters: Annotated[Count | None, Opt("Training", on_resume=True)] = None
    """Steps to train for (1000 unless --epochs is given)."""
    epochs: Annotated[Positive | None, Opt("Training", on_resume=True)] = None
    """Passes over the training rows, instead of --iters."""
    grad_accumulation_steps: Annotated[Count, Opt("Training")] = 1
    """Steps whose gradients are gathered for one update."""
    max_grad_norm: Annotated[Positive | None, Opt("Training")] = None
    """Clip the gradient to this norm."""
    grad_checkpoint: Annotated[bool, Opt("Memory", on_resume=True)] = False
    """Recompute activations in the backward pass to save memory."""
    trunk_cache: Annotated[
        Literal["auto", "memory", "disk", "off"], Opt("Memory", on_resume=True)
    ] = "auto"
    """Keep what the frozen blocks compute for each row: in memory, on disk, or as fits (auto)."""
    trunk_cache_limit: Annotated[Whole | str, Opt("Memory", metavar="BYTES", on_resume=True)] = (
        "32GB"
    )
    """Largest trunk cache: bytes, 500M, 2GB."""
    fit: Annotated[Literal["auto", "check", "off"], Opt("Memory", on_resume=True)] = "auto"
    """Try before training whether it fits into memory: if in doubt (auto), always, or never."""
    clear_cache_threshold: Annotated[
        Whole | str | None, Opt("Memory", metavar="BYTES", on_resume=True)
    ] = None
    """Empty the allocator's cache when it is larger: bytes, 500M, 2GB (0: after every step)."""
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
    """A validation loss counts as fallen if it is lower than the lowest by more than this."""
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
    resume_adapter_file: Annotated[Name | None, Opt("Run", completes="path")] = None
    """Adapter weights to start from: an adapters.safetensors, an adapter folder or a run."""
    report_to: Annotated[str | None, Opt("Run", metavar="SERVICE,SERVICE", on_resume=True)] = None
    """Also report to wandb, swanlab, or both."""
    project_name: Annotated[str | None, Opt("Run", on_resume=True)] = None
    """Project name at the services of --report-to."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FitConfig(TrainConfig):
    """Try whether a training fits into memory, how long it takes, and what to change if not."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SweepConfig(TrainConfig):
    """Train once with each combination of several values, one training after another."""

    sweep: Annotated[dict[str, list[Any]], Opt("Sweep", flag=False)] = Field(default_factory=dict)
    """The options that are swept, each with a list of its values."""
    # With no other named, each trial publishes inside the sweep's run.
    adapter_path: Annotated[str | None, Opt("Run", completes="path")] = None  # type: ignore[assignment]
    """Folder of folders for the trials' adapters (inside the sweep's run if not given)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TestConfig(ModelOptions, DataOptions, RunOptions):
    """Loss and perplexity on the test rows, of a model with or without an adapter."""

    adapter_path: Annotated[str | None, Opt("Model", completes="adapter")] = None
    """Adapter folder or run to test (the base model if not given)."""
    test_batches: Annotated[Everything, Opt("Evaluation")] = 500
    """Batches of the test; -1 for all rows."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GenerateConfig(ModelOptions):
    """Generate text from a prompt, with a base model, an adapter, or both side by side."""

    adapter_path: Annotated[str | None, Opt("Model", completes="adapter")] = None
    """Adapter folder or run to generate with (the base model if not given)."""
    prompt: Annotated[str | None, Opt("Prompt", ("-p",))] = None
    """The prompt (the words on the line, or the body of the cell)."""
    system_prompt: Annotated[str | None, Opt("Prompt")] = None
    """System message before the prompt."""
    history: Annotated[list[dict[str, str]] | None, Opt("Prompt", flag=False)] = None
    """Earlier messages of the conversation, in turns of user and assistant: role and content."""
    prefill_response: Annotated[str | None, Opt("Prompt")] = None
    """Beginning of the answer, given to the model."""
    ignore_chat_template: Annotated[bool, Opt("Prompt")] = False
    """Give the prompt to the model as it is."""
    max_tokens: Annotated[Count, Opt("Sampling", ("-m",))] = 100
    """Longest answer in tokens."""
    temp: Annotated[Annotated[Number, Field(ge=0, allow_inf_nan=False)], Opt("Sampling")] = 0.0
    """Sampling temperature; 0 takes the likeliest token each time."""
    top_p: Annotated[Share, Opt("Sampling")] = 1.0
    """Sample among the likeliest tokens that hold this probability together."""
    min_p: Annotated[Share, Opt("Sampling")] = 0.0
    """Leave out tokens less likely than this share of the likeliest one."""
    top_k: Annotated[Size, Opt("Sampling")] = 0
    """Sample among this many likeliest tokens (0 = all)."""
    xtc_probability: Annotated[Share, Opt("Sampling")] = 0.0
    """Probability of XTC sampling at each token."""
    xtc_threshold: Annotated[Annotated[Number, Field(ge=0, le=0.5)], Opt("Sampling")] = 0.1
    """Threshold a token's probability must reach to be taken out by XTC."""
    min_tokens_to_keep: Annotated[Count, Opt("Sampling")] = 1
    """Tokens that --min-p always keeps."""
    seed: Annotated[Seed | None, Opt("Sampling")] = None
    """Seed of the sampling."""
    extra_eos_token: Annotated[list[str] | None, Opt("Sampling", metavar="TOKEN,TOKEN")] = None
    """Further tokens that end the answer."""
    max_kv_size: Annotated[Count | None, Opt("Memory")] = None
    """Longest key-value cache in tokens."""
    kv_bits: Annotated[Literal[2, 3, 4, 6, 8] | None, BeforeValidator(_spelled), Opt("Memory")] = (
        None
    )
    """Bits of a quantised key-value cache."""
    kv_group_size: Annotated[Literal[32, 64, 128], BeforeValidator(_spelled), Opt("Memory")] = 64
    """Group size of a quantised key-value cache."""
    quantized_kv_start: Annotated[Size, Opt("Memory")] = 5000
    """Token from which on the key-value cache is quantised."""
    prefill_step_size: Annotated[Count, Opt("Memory")] = 2048
    """Prompt tokens processed at a time."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class HubOptions:
    """Where on the Hugging Face Hub something is uploaded to."""

    upload_repo: Annotated[Name | None, Opt("Hub", metavar="OWNER/NAME")] = None
    """Upload to this repository of the Hugging Face Hub; without an owner it is yours."""
    public: Annotated[bool, Opt("Hub")] = False
    """Let everybody see the repository; it is private without this."""
    update_repo: Annotated[bool, Opt("Hub")] = False
    """Upload to a repository with other files, too; model files that it had before are removed."""
    dry_run: Annotated[bool, Opt("Hub")] = False
    """Check and list the files that would be uploaded, and send nothing."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ConvertConfig(HubOptions):
    """Quantise a model, dequantise it, or change the type of its weights."""

    model: Annotated[str, Field(min_length=1), Opt("Model", ("--hf-path",), completes="model")]
    """Model to convert: a folder, or a Hugging Face repository."""
    trust_remote_code: Annotated[bool, Opt("Model")] = False
    """Allow code that comes with the model to run, if --trust-sha256 agrees to it."""
    trust_sha256: Annotated[Words | None, Opt("Model", metavar="FILE:SHA256,...")] = None
    """The files of code you have read and agree to run, each with the sha256 of its content."""
    mlx_path: Annotated[str, Field(min_length=1), Opt("Output", completes="path")] = "mlx_model"
    """Folder that receives the converted model."""
    overwrite: Annotated[bool, Opt("Output")] = False
    """Replace a model that is already there."""
    dtype: Annotated[Literal["float16", "bfloat16", "float32"] | None, Opt("Output")] = None
    """Type of the weights that are not quantised (what the model's config says, if not given)."""
    quantize: Annotated[bool, Opt("Quantisation", ("-q",))] = False
    """Quantise the model."""
    q_bits: Annotated[
        Literal[2, 3, 4, 5, 6, 8] | None, BeforeValidator(_spelled), Opt("Quantisation")
    ] = None
    """Bits of a quantised weight (4, or what the mode needs, if not given)."""
    q_group_size: Annotated[
        Literal[16, 32, 64, 128] | None, BeforeValidator(_spelled), Opt("Quantisation")
    ] = None
    """Weights that share a scale (64, or what the mode needs, if not given)."""
    q_mode: Annotated[QuantMode, Opt("Quantisation")] = "affine"
    """How numbers are quantised: affine, or a block format of 4 or 8 bits."""
    quant_predicate: Annotated[Recipe | None, Opt("Quantisation")] = None
    """A recipe that gives sensitive layers more bits, e.g. 3 and 6."""
    dequantize: Annotated[bool, Opt("Quantisation", ("-d",))] = False
    """Turn the weights of a quantised model back into plain ones."""
    name: Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")] = None
    """Name of the run (made from the model if not given)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FuseConfig(HubOptions, ModelOptions):
    """Put an adapter into its base model, and check that the result answers as the two did."""

    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Base model: a folder or a Hugging Face repository (the adapter's own if not given)."""
    adapter_path: Annotated[
        str, Field(min_length=1), Opt("Model", ("--adapter",), completes="adapter")
    ] = "adapters"
    """Adapter to fuse: its folder, a run, or a folder of PEFT."""
    save_path: Annotated[str, Field(min_length=1), Opt("Output", completes="path")] = (
        "lora_fused_model"
    )
    """Folder that receives the fused model."""
    overwrite: Annotated[bool, Opt("Output")] = False
    """Replace a model that is already there."""
    dequantize: Annotated[bool, Opt("Output", ("--de-quantize", "-d"))] = False
    """Write plain weights even if the base model is quantised."""
    export_peft: Annotated[str | None, Opt("Output", metavar="FOLDER", completes="path")] = None
    """Also write the adapter as PEFT loads it, to this folder."""
    export_gguf: Annotated[bool, Opt("Output")] = False
    """Also write the fused model as a GGUF file, for llama.cpp and Ollama, and check it."""
    gguf_path: Annotated[str | None, Field(min_length=1), Opt("Output", completes="path")] = None
    """Name of that file inside --save-path (ggml-model-TYPE.gguf if not given)."""
    gguf_type: Annotated[Literal["f16", "f32", "bf16", "q8_0"] | None, Opt("Output")] = None
    """Type of that file's weights (f16 if not given)."""
    hf_path: Annotated[Name | None, Opt("Output", metavar="OWNER/NAME")] = None
    """The base model's name on the Hub, for the model card (--model's own if it is one)."""
    data: Annotated[str | None, Opt("Check", completes="data")] = None
    """Rows to check the result on (those of the adapter's run if not given)."""
    check_rows: Annotated[Size, Opt("Check", metavar="N")] = 16
    """Rows to check the result on; 0 for no check."""
    name: Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")] = None
    """Name of the run (made from the model if not given)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UploadConfig(HubOptions):
    """Upload a model, or an adapter alone, to the Hugging Face Hub."""

    path: Annotated[str, Field(min_length=1), Opt("Upload", completes="adapter")]
    """What is uploaded: a model's or adapter's folder, or the run that made one."""
    hf_path: Annotated[Name | None, Opt("Upload", metavar="OWNER/NAME")] = None
    """The base model's name on the Hub, for the model card (as it is known, if not given)."""
    name: Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")] = None
    """Name of the run (made from the repository's if not given)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CompareConfig(ModelOptions):
    """Let models and adapters answer the same rows, side by side."""

    model: Annotated[str | None, Opt("Model", completes="model")] = None  # type: ignore[assignment]
    """Base model of the adapters (the first adapter's own if not given)."""
    contenders: Annotated[list[str], Field(min_length=1), Opt("Model", flag=False)] = Field(
        default_factory=lambda: ["base", "adapters"]
    )
    """What is compared: base, adapters, runs, run@step, folders of fused models."""
    data: Annotated[str | None, Opt("Data", completes="data")] = None
    """Rows to answer (those of the first adapter's run if not given)."""
    subset: Annotated[Literal["train", "valid", "test"], Opt("Data")] = "test"
    """Split that the rows are taken from."""
    rows: Annotated[Count, Opt("Data", metavar="N")] = 8
    """Rows to answer, the first ones of the split."""
    max_tokens: Annotated[Count, Opt("Sampling", ("-m",))] = 100
    """Longest answer in tokens."""
    name: Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")] = None
    """Name of the run (made from the model if not given)."""
