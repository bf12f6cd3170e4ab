"""Every option of every verb, declared once, and the layers they are put together from."""

from __future__ import annotations

from lora_nb.config.flags import OWN, Flag, Parsed, flags_of, parse_flags
from lora_nb.config.help_text import usage, yaml_only
from lora_nb.config.layers import load
from lora_nb.config.options import (
    DataConfig,
    DataOptions,
    FitConfig,
    LoraParameters,
    LrSchedule,
    ModelOptions,
    SweepConfig,
    TestConfig,
    TrainConfig,
)
from lora_nb.config.options_generating import CompareConfig, GenerateConfig
from lora_nb.config.options_shipping import ConvertConfig, FuseConfig, HubOptions, UploadConfig
from lora_nb.config.yaml_io import as_yaml

__all__ = [
    "OWN",
    "CompareConfig",
    "ConvertConfig",
    "DataConfig",
    "DataOptions",
    "FitConfig",
    "Flag",
    "FuseConfig",
    "GenerateConfig",
    "HubOptions",
    "LoraParameters",
    "LrSchedule",
    "ModelOptions",
    "Parsed",
    "SweepConfig",
    "TestConfig",
    "TrainConfig",
    "UploadConfig",
    "as_yaml",
    "flags_of",
    "load",
    "parse_flags",
    "usage",
    "yaml_only",
]
