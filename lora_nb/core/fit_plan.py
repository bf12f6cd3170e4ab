"""From what a probe has measured to what other options would take, in the order of their harm.

The peak of a step is what lies in memory all the time (weights, adapter, optimizer, trunk cache)
and what the step itself takes, which grows with the tokens of its batch and the trained blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_nb.config import TrainConfig
from lora_nb.runs.fit_result import Candidate

__all__ = ["Change", "Probed", "candidates", "peak_of", "seconds_of", "without_cache"]

# Of a 4-bit model with a scale and a bias for each 64 weights, against 16 bits.
_QUANTISED = 4.5 / 16
# A second forward pass beside one forward and a backward pass of twice its work.
_RECOMPUTED = 4 / 3
_SHORTEST = 128
# A step that is left out or shortened is never free.
_LEAST = 0.1


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What was measured: sizes in bytes, times in seconds of one step on the longest batch.

    `load` is the peak of loading, `fixed` what lies in memory before the first step: in it `base`
    the model's weights, `below` those of blocks under the trained ones, `trained` what grows with
    the trained blocks, and `gradients` as much as is carried from step to step if gradients are
    gathered. A step takes `step` bytes; `less` with half of the trained blocks, `recomputed` with
    recomputed activations (0: not tried, or already so), an evaluation `evaluation`. Where there is
    no trunk cache, `cacheable` says whether fewer trained blocks could have one. `shares` are the
    padded tokens of the first epoch's batches, in order, as shares of the longest one.
    """

    load: int
    fixed: int
    base: int
    below: int
    trained: int
    gradients: int
    step: int
    less: int
    recomputed: int
    evaluation: int
    cache: int
    cache_place: str
    cacheable: bool
    measured: bool
    blocks: int
    rows: int
    length: int
    shares: Sequence[float]
    steps: int
    plain_seconds: float
    fill_seconds: float
    cached_seconds: float
    less_seconds: float
    recomputed_seconds: float
    row_seconds: float
    can_quantise: bool

    @property
    def few_blocks(self) -> int:
        """The blocks that were trained where `less` was measured."""
        return self.blocks - self.blocks // 2


@dataclass(frozen=True)
class Change:
    """Options other than the configured ones; None leaves one as it is."""

    cache: str | None = None
    recompute: bool = False
    rows: int | None = None
    blocks: int | None = None
    length: int | None = None
    quantise: bool = False


def without_cache(probed: Probed) -> Probed:
    """The same training without a trunk cache."""
    return replace(probed, cache=0, cache_place="off")


def peak_of(probed: Probed, change: Change) -> int:
    """The highest memory in a training, in bytes."""
    part = (change.blocks or probed.blocks) / probed.blocks
    saved = (1 - _QUANTISED) * probed.base if change.quantise else 0.0
    fixed = probed.fixed - (1 - part) * probed.trained - saved
    if change.rows and change.rows < probed.rows:
        fixed += part * probed.gradients
    size = (change.rows or probed.rows) / probed.rows * (change.length or probed.length)
    step = _step_bytes(probed, change) * size / probed.length
    evaluation = probed.evaluation * size / probed.length
    cache = probed.cache if (change.cache or probed.cache_place) == "memory" else 0
    below = probed.below if (change.cache or probed.cache_place) in ("memory", "disk") else 0
    first = max(_first_epoch(probed.shares, step, cache), 2 * cache)
    # A validation comes when it is due, so possibly beside the whole model and cache.
    later = max(cache - below + step, cache + evaluation)
    return int(max(probed.load - saved, fixed + first, fixed + later))


def _first_epoch(shares: Sequence[float], step: float, cache: int) -> float:
    """The highest sum of a step and the part of the cache that is filled by then.

    Once all rows are there they are put together, for which they are there twice.
    """
    whole, filled, highest = sum(shares), 0.0, 0.0
    for share in shares:
        filled += share / whole * cache
        highest = max(highest, filled + share * step)
    return highest


def _step_bytes(probed: Probed, change: Change) -> float:
    if change.recompute and probed.recomputed:
        return probed.recomputed
    gone = probed.blocks - (change.blocks or probed.blocks)
    saved = gone * _a_block(probed.step, probed.less, probed)
    return max(probed.step - saved, _LEAST * probed.step)


def _a_block(whole: float, less: float, probed: Probed) -> float:
    """What one trained block adds; nothing is promised where that was not measured."""
    fewer = probed.blocks - probed.few_blocks
    return max(0.0, (whole - less) / fewer) if less and fewer else 0.0


def seconds_of(probed: Probed, change: Change | None = None) -> float:
    """The time of all steps, NaN where it can't be told. Validations are not in it."""
    change = change or Change()
    if change.quantise:
        return math.nan
    gone = probed.blocks - (change.blocks or probed.blocks)
    saved = gone * _a_block(probed.plain_seconds, probed.less_seconds, probed)
    recompute = 1.0
    if change.recompute:
        known = probed.recomputed_seconds and probed.plain_seconds
        recompute = probed.recomputed_seconds / probed.plain_seconds if known else _RECOMPUTED
    plain, first, later = (
        recompute * max(seconds - saved, _LEAST * seconds)
        for seconds in (
            probed.plain_seconds,
            probed.fill_seconds + probed.cached_seconds,
            probed.cached_seconds,
        )
    )
    epoch = len(probed.shares)
    early = min(probed.steps, epoch)
    if (change.cache or probed.cache_place) == "off":
        first = later = plain
    whole = early * first + (probed.steps - early) * later
    return whole * _share_of_longest(probed, change.rows)


def _share_of_longest(probed: Probed, rows: int | None) -> float:
    """The mean step's time as a share of the longest one's, all parts of a smaller batch counted.

    Of a step's time some is the same for every batch, and the rest grows with its tokens.
    """
    mean = sum(probed.shares) / len(probed.shares)
    if probed.rows == 1 or not probed.plain_seconds:
        return mean
    a_row = max(0.0, (probed.plain_seconds - probed.row_seconds) / (probed.rows - 1))
    always = max(0.0, probed.plain_seconds - a_row * probed.rows) / probed.plain_seconds
    parts = math.ceil(probed.rows / rows) if rows else 1
    return parts * always + (1 - always) * mean


def candidates(probed: Probed, config: TrainConfig, limit: int) -> list[Candidate]:
    """The training as it is, then with ever more harmful changes."""
    found = []
    for change in dict.fromkeys([Change(), *_ladder(probed, config)]):
        peak = peak_of(probed, change)
        values = _values(change, probed, config)
        recomputed = change == Change(recompute=True)
        found.append(
            Candidate(
                change=_words(change, probed),
                flags=_flags(values),
                peak=peak,
                seconds=seconds_of(probed, change),
                measured=probed.measured
                and (change == Change() or (recomputed and probed.recomputed > 0)),
                fits=peak <= limit,
                before=_before(config) if change.quantise else "",
                values=values,
            )
        )
    return found


def _ladder(probed: Probed, config: TrainConfig) -> Iterator[Change]:
    """Changes in the order of their harm: first those that only cost time, at last 4 bits."""
    mild = Change()
    if probed.cache_place == "memory":
        mild = replace(mild, cache="disk")
        yield mild
    if not config.grad_checkpoint:
        mild = replace(mild, recompute=True)
        yield Change(recompute=True)
    for rows in _halves(probed.rows, 1):
        yield Change(rows=rows)
    for rows in _halves(probed.rows, 1):
        yield replace(mild, rows=rows)
    mild = replace(mild, rows=1 if probed.rows > 1 else None)
    if probed.cache_place == "off" and probed.cacheable and config.trunk_cache != "off":
        # With fewer trained blocks there is something to keep, which must not cost memory.
        mild = replace(mild, cache="disk")
    for blocks in _halves(probed.blocks, 1):
        yield replace(mild, blocks=blocks)
    for length in _halves(probed.length, _SHORTEST):
        yield replace(mild, length=length)
    least = replace(mild, blocks=1 if probed.blocks > 1 else None)
    for length in _halves(probed.length, _SHORTEST):
        yield replace(least, length=length)
    if probed.can_quantise:
        yield Change(quantise=True)
        yield replace(mild, quantise=True)
        yield replace(least, quantise=True)


def _halves(start: int, least: int) -> Iterator[int]:
    while start // 2 >= least:
        start //= 2
        yield start


def _values(change: Change, probed: Probed, config: TrainConfig) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if change.cache:
        values["trunk_cache"] = change.cache
    if change.recompute:
        values["grad_checkpoint"] = True
    if change.rows:
        parts = math.ceil(probed.rows / change.rows)
        values["batch_size"] = change.rows
        values["grad_accumulation_steps"] = parts * config.grad_accumulation_steps
        if config.epochs is None:
            # Steps are counted in batches, and these are smaller now.
            values["iters"] = parts * probed.steps
    if change.blocks:
        values["num_layers"] = change.blocks
    if change.length:
        values |= {"max_seq_length": change.length, "long_rows": "split"}
    if change.quantise:
        values["model"] = _quantised(config)
    return values


def _flags(values: dict[str, Any]) -> str:
    names = [(f"--{key.replace('_', '-')}", value) for key, value in values.items()]
    return " ".join(name if value is True else f"{name} {value}" for name, value in names)


def _quantised(config: TrainConfig) -> str:
    return f"{config.model.rstrip('/').rsplit('/', 1)[-1]}-4bit"


def _before(config: TrainConfig) -> str:
    return f"%lora_convert --model {config.model} -q --mlx-path {_quantised(config)}"


def _words(change: Change, probed: Probed) -> str:
    parts = []
    if change.cache:
        parts.append(f"trunk cache on {change.cache}")
    if change.recompute:
        parts.append("recomputed activations")
    if change.rows:
        parts.append(f"batches of {change.rows}, gradients gathered over {probed.rows} rows")
    if change.blocks:
        parts.append(f"{change.blocks} trained block{'s' if change.blocks > 1 else ''}")
    if change.length:
        parts.append(f"rows split at {change.length} tokens")
    if change.quantise:
        parts.append("a model of 4 bits (QLoRA)")
    return ", ".join(parts) or "as configured"
