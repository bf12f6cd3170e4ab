"""What options must satisfy together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_nb.config import rules_shipping
from lora_nb.config.derived import SCHEDULES, bytes_of, parse_shares, services_of
from lora_nb.config.options import DataConfig, DataOptions, ModelOptions, TestConfig, TrainConfig
from lora_nb.config.options_generating import CompareConfig, GenerateConfig
from lora_nb.config.options_shipping import ConvertConfig, FuseConfig, HubOptions, UploadConfig
from lora_nb.config.rules_shipping import Problem

__all__ = ["broken_by"]

# Options that name a file or folder.
_PATHS = (
    "adapter_path", "chat_template", "data", "mlx_path", "model", "path", "resume_adapter_file",
)  # fmt: skip
_SERVICES = ("wandb", "swanlab")


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
        yield from rules_shipping.conversion(config)
    if isinstance(config, FuseConfig):
        yield from rules_shipping.fusing(config)
    if isinstance(config, HubOptions):
        yield from rules_shipping.hub(config)


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
    least, names = SCHEDULES[schedule.name]
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
