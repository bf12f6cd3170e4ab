"""Every option of every verb, declared once, and the layers they are put together from."""

from __future__ import annotations

from lora_nb.config.flags import Flag, Parsed, flags_of, parse_flags, usage
from lora_nb.config.layers import load
from lora_nb.config.options import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    DataOptions,
    FitConfig,
    FuseConfig,
    GenerateConfig,
    HubOptions,
    LoraParameters,
    LrSchedule,
    ModelOptions,
    SweepConfig,
    TestConfig,
    TrainConfig,
    UploadConfig,
)
from lora_nb.config.yaml_io import as_yaml

__all__ = [
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
]
