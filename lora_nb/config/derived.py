"""The values that follow from options: defaults that depend on others, and texts as numbers."""

from __future__ import annotations

from lora_nb.config.options import DataOptions, LoraParameters, LrSchedule, TrainConfig
from lora_nb.config.options_shipping import ConvertConfig

__all__ = [
    "BLOCKS", "DEFAULT_ITERS", "DEFAULT_LAYERS", "DEFAULT_SCALE", "SCHEDULES", "arguments_of",
    "bytes_of", "parse_shares", "quantisation_of", "scale_of", "services_of", "train_on_of",
]  # fmt: skip

DEFAULT_SCALE = 20.0
DEFAULT_ITERS = 1000
DEFAULT_LAYERS = 16
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KB": 10**3, "MB": 10**6, "GB": 10**9}
# The only bits and group size of each block format.
BLOCKS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}
# How many arguments each schedule takes (least, most), and their names.
SCHEDULES: dict[str, tuple[int, tuple[str, ...]]] = {
    "cosine_decay": (2, ("init", "decay_steps", "end")),
    "exponential_decay": (2, ("init", "decay_rate")),
    "linear_schedule": (3, ("init", "end", "steps")),
    "step_decay": (3, ("init", "decay_rate", "step_size")),
}


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
    _, names = SCHEDULES[schedule.name]
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


def services_of(config: TrainConfig) -> list[str]:
    """The services of `report_to` in small letters."""
    return [part.strip().lower() for part in (config.report_to or "").split(",") if part.strip()]


def quantisation_of(config: ConvertConfig) -> tuple[int, int]:
    """Bits and group size of a conversion: what is given, or what is usual in its mode."""
    bits, group = BLOCKS.get(config.q_mode, (4, 64))
    return config.q_bits or bits, config.q_group_size or group
