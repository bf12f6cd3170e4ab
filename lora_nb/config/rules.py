"""What options must satisfy together, and the values that follow from several of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_nb.config.options import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    DataOptions,
    FuseConfig,
    GenerateConfig,
    HubOptions,
    LoraParameters,
    LrSchedule,
    ModelOptions,
    TestConfig,
    TrainConfig,
    UploadConfig,
)

__all__ = [
    "arguments_of",
    "broken_by",
    "bytes_of",
    "is_repository",
    "parse_shares",
    "quantisation_of",
    "scale_of",
    "services_of",
    "train_on_of",
]

Problem = tuple[tuple[str, ...], str]

DEFAULT_SCALE = 20.0
DEFAULT_ITERS = 1000
DEFAULT_LAYERS = 16

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KB": 10**3, "MB": 10**6, "GB": 10**9}

# How many arguments each schedule takes (least, most), and their names.
_SCHEDULES: dict[str, tuple[int, tuple[str, ...]]] = {
    "cosine_decay": (2, ("init", "decay_steps", "end")),
    "exponential_decay": (2, ("init", "decay_rate")),
    "linear_schedule": (3, ("init", "end", "steps")),
    "step_decay": (3, ("init", "decay_rate", "step_size")),
}

# Options that name a file or folder.
_PATHS = (
    "adapter_path", "chat_template", "data", "mlx_path", "model", "path", "resume_adapter_file",
)  # fmt: skip

_SERVICES = ("wandb", "swanlab")

# The only bits and group sizes of each block format, and the group sizes of the affine mode.
_BLOCKS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}
_AFFINE_GROUPS = (32, 64, 128)

_LONGEST_REPOSITORY = 96
_NO_REPOSITORY = (
    "is no name of a repository on the Hub. Give OWNER/NAME, of letters, digits, '-', '_' and '.'."
)


def scale_of(parameters: LoraParameters) -> float:
    """The factor on the adapter's output: `scale`, or alpha / rank, or mlx-lm's 20."""
    if parameters.alpha is not None:
        return parameters.alpha / parameters.rank
    return DEFAULT_SCALE if parameters.scale is None else parameters.scale


def train_on_of(options: DataOptions) -> str:
    """Which tokens are trained: `train_on`, or what `mask_prompt` says."""
    return options.train_on or ("completions" if options.mask_prompt else "all")


def bytes_of(size: int | str) -> int:
    """A size such as 2GB or 500M in bytes. Raises ValueError for anything else."""
    text = str(size).strip().upper()
    digits = text.rstrip("KMGB")
    unit = text[len(digits) :]
    if unit not in _UNITS:
        raise ValueError(size)
    amount = float(digits) * _UNITS[unit]
    if not 0 <= amount < 1e18:
        raise ValueError(size)
    return int(amount)


def arguments_of(schedule: LrSchedule) -> list[float]:
    """The schedule's arguments with the counts of steps as whole numbers."""
    _, names = _SCHEDULES[schedule.name]
    return [
        int(value) if "steps" in name or name == "step_size" else value
        for name, value in zip(names, schedule.arguments, strict=False)
    ]


def parse_shares(text: str) -> tuple[float, ...]:
    """`0.9/0.05/0.05` as shares of train, valid and test (test may be left out).

    Raises ValueError if they are no shares of one.
    """
    shares = tuple(float(part) for part in text.split("/"))
    if len(shares) not in (2, 3) or not all(0 <= share <= 1 for share in shares):
        raise ValueError(text)
    if not shares[0] or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(text)
    return shares


def broken_by(
    config: DataConfig
    | TrainConfig
    | TestConfig
    | GenerateConfig
    | ConvertConfig
    | FuseConfig
    | CompareConfig
    | UploadConfig,
) -> Iterator[Problem]:
    """Every rule that the config breaks, as key path and sentence."""
    if isinstance(config, DataOptions):
        yield from _data(config)
    for key, value in vars(config).items():
        if isinstance(value, str) and (wrong := _unwritable(key, value)):
            yield (key,), wrong
    if isinstance(config, (ConvertConfig, ModelOptions)):
        yield from _trust(config)
    if isinstance(config, GenerateConfig):
        yield from _generation(config)
    if isinstance(config, TrainConfig):
        yield from _training(config)
    if isinstance(config, ConvertConfig):
        yield from _conversion(config)
    if isinstance(config, FuseConfig):
        yield from _fusing(config)
    if isinstance(config, HubOptions):
        yield from _hub(config)


def _generation(config: GenerateConfig) -> Iterator[Problem]:
    if config.kv_bits and config.max_kv_size:
        yield ("kv_bits",), "given beside max_kv_size, whose cache can't be quantised."
    turns = config.history or []
    if turns and config.ignore_chat_template:
        yield ("history",), "given beside ignore_chat_template, without which there are no turns."
    for number, message in enumerate(turns):
        wanted = ("user", "assistant")[number % 2]
        if set(message) != {"role", "content"} or message["role"] != wanted:
            yield ("history",), f"message {number + 1} is no {{role: {wanted}, content: ...}}."
            return
    if len(turns) % 2:
        yield ("history",), "ends with a question; the next one is the prompt."


def _unwritable(key: str, value: str) -> str:
    """What keeps a text from being written to a file, or from being the name of one."""
    if "\0" in value:
        return "holds a NUL character, which no name or path can."
    if key in _PATHS and (len(value) > 4000 or max(map(len, value.split("/"))) > 250):
        return "is too long for a name or path."
    return ""


def _trust(config: ModelOptions | ConvertConfig) -> Iterator[Problem]:
    for text in config.trust_sha256 or ():
        if not re.fullmatch(r".+:[0-9a-fA-F]{64}", text):
            yield (
                ("trust_sha256",),
                f"'{text}' is no FILE:SHA256. The message about a model's code has the right ones.",
            )


def _data(config: DataOptions) -> Iterator[Problem]:
    if config.split is not None:
        try:
            parse_shares(config.split)
        except ValueError:
            text = f"'{config.split}' is no split"
            yield ("split",), f"{text}; give shares that make 1, e.g. 0.9/0.05/0.05."
    features = ("prompt_feature", "completion_feature")
    if config.prompt_feature == config.completion_feature:
        yield features[1:], f"'{config.completion_feature}' is the prompt's key, too."
    if config.mask_prompt and config.train_on not in (None, "completions"):
        yield ("train_on",), f"'{config.train_on}' contradicts mask_prompt. Give one of the two."


def _training(config: TrainConfig) -> Iterator[Problem]:
    if not config.train:
        yield ("train",), "false, but this verb trains. %lora_test computes the test loss alone."
    if config.iters is not None and config.epochs is not None:
        yield ("epochs",), "given beside iters. Give one of the two."
    if config.num_layers is not None and config.num_layers != -1 and config.num_layers < 1:
        yield (
            ("num_layers",),
            f"{config.num_layers} blocks can't be trained; give at least 1, or -1 for all.",
        )
    if config.lora_parameters.scale is not None and config.lora_parameters.alpha is not None:
        yield ("lora_parameters", "alpha"), "given beside scale. Give one of the two."
    if config.lora_parameters.keys == []:
        yield ("lora_parameters", "keys"), "empty: no layer would be adapted. Leave it out for all."
    yield from _validated(config)
    yield from _optimizer(config)
    yield from _schedule(config)
    yield from _cache(config)
    yield from _reporting(config)


def _validated(config: TrainConfig) -> Iterator[Problem]:
    """What can't be had without validations."""
    wanted = {"early_stop": config.early_stop, "publish": config.publish == "best"}
    if config.val_batches == 0:
        for key, given in wanted.items():
            if given:
                yield (key,), "needs validations, but val_batches is 0."
    if config.early_stop_delta and not config.early_stop:
        yield ("early_stop_delta",), "says when to stop early, but early_stop is not given."


def _cache(config: TrainConfig) -> Iterator[Problem]:
    for key in ("clear_cache_threshold", "trunk_cache_limit"):
        size = getattr(config, key)
        try:
            bytes_of(size or 0)
        except ValueError:
            yield (key,), f"'{size}' is no size; give bytes, or e.g. 500M or 2GB."


def _optimizer(config: TrainConfig) -> Iterator[Problem]:
    known = ("adam", "adamw", "muon", "sgd", "adafactor")
    for name, arguments in config.optimizer_config.items():
        if name not in known:
            yield ("optimizer_config", name), f"no optimizer; known are {', '.join(known)}."
        elif "learning_rate" in arguments:
            yield ("optimizer_config", name), "learning_rate belongs to the option of that name."


def _schedule(config: TrainConfig) -> Iterator[Problem]:
    schedule = config.lr_schedule
    if schedule is None:
        return
    least, names = _SCHEDULES[schedule.name]
    if not least <= len(schedule.arguments) <= len(names):
        wanted = ", ".join(names)
        optional = "" if least == len(names) else "; the last may be left out"
        yield ("lr_schedule", "arguments"), f"{schedule.name} takes [{wanted}]{optional}."
        return
    for name, value in zip(names, schedule.arguments, strict=False):
        counts = "steps" in name or name == "step_size"
        if value != value or value in (float("inf"), float("-inf")) or value < 0:
            yield ("lr_schedule", "arguments"), f"{name} is {value}; give a number of 0 or more."
        elif counts and (value < 1 or value != int(value)):
            yield ("lr_schedule", "arguments"), f"{name} is {value}; give a whole number of steps."
    if schedule.arguments[0] == 0:
        yield ("lr_schedule", "arguments"), "init is 0; give the initial learning rate."


def _reporting(config: TrainConfig) -> Iterator[Problem]:
    for service in services_of(config):
        if service not in _SERVICES:
            yield ("report_to",), f"'{service}' is unknown; give {' or '.join(_SERVICES)}."


def services_of(config: TrainConfig) -> list[str]:
    """The services of `report_to` in small letters."""
    return [part.strip().lower() for part in (config.report_to or "").split(",") if part.strip()]


def quantisation_of(config: ConvertConfig) -> tuple[int, int]:
    """Bits and group size of a conversion: what is given, or what is usual in its mode."""
    bits, group = _BLOCKS.get(config.q_mode, (4, 64))
    return config.q_bits or bits, config.q_group_size or group


def _conversion(config: ConvertConfig) -> Iterator[Problem]:
    if config.quantize and config.dequantize:
        yield ("dequantize",), "given beside quantize. Give one of the two."
    given = {
        "q_bits": config.q_bits,
        "q_group_size": config.q_group_size,
        "q_mode": None if config.q_mode == "affine" else config.q_mode,
        "quant_predicate": config.quant_predicate,
    }
    useless = [key for key, value in given.items() if value is not None]
    if useless and not config.quantize:
        for key in useless:
            yield (key,), "says how to quantise, but nothing is quantised. Add --quantize (-q)."
        return
    if config.quant_predicate and config.q_bits:
        yield ("q_bits",), f"the recipe {config.quant_predicate} gives each layer its own bits."
    if config.q_mode == "affine":
        if config.q_group_size not in (None, *_AFFINE_GROUPS):
            yield ("q_group_size",), f"{config.q_group_size} is not 32, 64 or 128."
        return
    if config.quant_predicate:
        yield ("quant_predicate",), f"recipes are for the mode affine, not for {config.q_mode}."
    bits, group = _BLOCKS[config.q_mode]
    if config.q_bits not in (None, bits):
        yield ("q_bits",), f"{config.q_mode} has {bits} bits. Leave it out."
    if config.q_group_size not in (None, group):
        yield ("q_group_size",), f"{config.q_mode} has groups of {group}. Leave it out."


def _fusing(config: FuseConfig) -> Iterator[Problem]:
    for key in ("gguf_path", "gguf_type"):
        if getattr(config, key) is not None and not config.export_gguf:
            yield (key,), "is for a GGUF file, but none is written. Add --export-gguf."
    if config.data and not config.check_rows:
        yield ("data",), "names rows to check on, but check_rows is 0. Leave one out."
    if config.trust_sha256 and not config.trust_remote_code:
        yield ("trust_sha256",), "agrees to code that is not run. Add --trust-remote-code."


def is_repository(name: str) -> bool:
    """Whether a text can be the name of a repository of the Hub, with or without an owner."""
    owner, _, bare = name.rpartition("/")
    parts = [bare, *([owner] if "/" in name else [])]
    return len(name) <= _LONGEST_REPOSITORY and all(map(_is_part, parts))


def _is_part(text: str) -> bool:
    ends = text[:1] + text[-1:]
    return (
        re.fullmatch(r"[A-Za-z0-9._-]+", text) is not None
        and not any(end in ".-" for end in ends)
        and not any(twice in text for twice in ("--", ".."))
        and not text.endswith(".git")
    )


def _hub(config: HubOptions) -> Iterator[Problem]:
    base = getattr(config, "hf_path", None)
    if base is not None and not is_repository(base):
        yield ("hf_path",), f"'{base}' {_NO_REPOSITORY}"
    if config.upload_repo is not None:
        if not is_repository(config.upload_repo):
            yield ("upload_repo",), f"'{config.upload_repo}' {_NO_REPOSITORY}"
        return
    if isinstance(config, UploadConfig):
        yield ("upload_repo",), "is not given. Name the repository: --upload-repo OWNER/NAME."
        return
    for key in ("public", "update_repo", "dry_run"):
        if getattr(config, key):
            yield (key,), "is about an upload, but nothing is uploaded. Add --upload-repo."
