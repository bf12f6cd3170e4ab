"""Whether a training fits: tried in a run of its own, and asked for before a training starts."""

from __future__ import annotations

import dataclasses
import math

import mlx.core as mx
import psutil
from mlx_lm.utils import load_config

from lora_nb.config import FitConfig, TrainConfig
from lora_nb.core.families import text_of
from lora_nb.core.fit import probe
from lora_nb.core.fit_plan import Probed, candidates, seconds_of, without_cache
from lora_nb.core.load import on_cpu
from lora_nb.core.memory import free_memory, give_back, total_memory, wire_memory
from lora_nb.core.packed import check_packing
from lora_nb.data.batches import padded_length
from lora_nb.errors import LoraError
from lora_nb.runs import attach
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.death import explain
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.fit_result import FitResult
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.passing import passing
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.model import load_for, make_tunable
from lora_nb.worker.prepare import Ready, make_ready
from lora_nb.worker.session import Session, StoppedEarlyError

__all__ = ["check_fit", "fit"]

# What is left free for everything else.
_SHARE = 0.95
# By a rough reckoning: below it there is nothing to try.
_SMALL = 0.4
_SHAPE = ("hidden_size", "num_hidden_layers", "vocab_size")


def fit(session: Session) -> Ended:
    """Try a training; the result is the run's `report.json`."""
    config = session.run.config
    if not isinstance(config, FitConfig):
        raise LoraError("This run's config.yaml is no fit config.")
    ready = make_ready(session, config, ["train", *(["test"] if config.test else [])])
    free = free_memory() + (_resident() if on_cpu() else 0)
    loaded = load_for(session, config, ready, lambda loaded: make_tunable(loaded, config, ready))
    wire_memory()
    if config.packing:
        check_packing(
            loaded.model, loaded.config, ready.splits["train"].prepared, config.batch_size
        )

    def tick(done: int, total: int) -> None:
        session.emit(Progress(stage="trying steps", done=done, total=total))
        session.checkpoint_if_stopped()

    probed = probe(
        loaded,
        config,
        ready.splits,
        limit=_limit(free, _overhead()),
        folder=session.run.path,
        tick=tick,
    )
    overhead = _overhead()
    limit = _limit(free, overhead)
    result = FitResult(
        device=_device(),
        memory=total_memory(),
        limit=limit,
        overhead=overhead,
        rows=probed.rows,
        length=probed.length,
        steps=probed.steps,
        weights=probed.base,
        cache=probed.cache,
        seconds_without_cache=seconds_of(without_cache(probed)),
        seconds_with_cache=seconds_of(probed) if probed.cache else math.nan,
        candidates=candidates(probed, config, limit),
        notes=_notes(probed),
    )
    write_whole(session.run.report_path, result.to_json())
    return Ended(status="completed", message=result.verdict())


def _limit(free: int, overhead: int) -> int:
    return max(0, int(_SHARE * free) - overhead)


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _overhead() -> int:
    """What the process has in memory beside MLX's arrays, where both share the same memory.

    Arrays that are gone would else be counted twice: here, and in the peak. But what MLX keeps of
    them for the next ones it will keep in training as well.
    """
    if not on_cpu():
        return 0
    kept = mx.get_cache_memory()
    give_back()
    return max(0, _resident() - mx.get_active_memory() + kept)


def _device() -> str:
    return "CPU" if on_cpu() else str(mx.device_info().get("device_name", "GPU"))


def _notes(probed: Probed) -> list[str]:
    notes = ["Times are those of the steps alone, without validations, and rough."]
    if not on_cpu():
        notes.append("What other programs hold of the device's memory is not known.")
    elif not probed.can_quantise:
        notes.append(
            "On a CPU quantised weights are held as fp32 where there is memory for it, so 4 bits "
            "are no help."
        )
    if not probed.measured:
        notes.append(
            f"The longest batch was not tried, since it would not fit; one of its {probed.rows} "
            "rows was, and the rest is reckoned."
        )
    return notes


def check_fit(session: Session, config: TrainConfig, ready: Ready) -> None:
    """Before a training: try it if that is wanted or needed. Raises LoraError if it can't fit."""
    if config.fit == "off" or (config.fit == "auto" and _is_small(config, ready)):
        return
    session.emit(Progress(stage="checking memory", done=0, total=0))
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    with passing(FitConfig(**values), cache_folder() / "fit") as run:
        _answer(session, config, run)


def _answer(session: Session, config: TrainConfig, run: RunFolder) -> None:
    for _ in attach.follow(run, idle=session.checkpoint_if_stopped):
        session.checkpoint_if_stopped()
    attach.wait(run, 10.0)
    anyway = " (--fit off trains nevertheless.)"
    end = run.ended
    if end is None:
        raise LoraError(f"The fit check failed: {explain(run)}{anyway}")
    if end.status == "stopped":
        raise StoppedEarlyError
    if end.status != "completed":
        if config.fit == "check" or "memory" in end.message.lower():
            raise LoraError(f"The fit check failed: {end.message}{anyway}")
        session.warn(f"The fit check failed, so it is not known whether this fits: {end.message}")
        return
    result = FitResult.from_json(run.report_path.read_text(encoding="utf-8"))
    given = result.candidates[0]
    if result.fits:
        session.inform(result.verdict())
    elif config.fit == "check" or given.peak + result.overhead > _SHARE * result.memory:
        raise LoraError(result.verdict() + anyway)
    else:
        # Enough for it if other programs give theirs back.
        session.warn(result.verdict())


def _is_small(config: TrainConfig, ready: Ready) -> bool:
    """Whether a training certainly fits, reckoned generously from the model's config and rows."""
    whole = load_config(ready.model_path)
    about = text_of(whole)
    files = sum(path.stat().st_size for path in ready.model_path.glob("*.safetensors"))
    # On a CPU weights are held as fp32, those of 4 bits as well.
    grown = (8 if "quantization" in whole else 2) if on_cpu() else 1

    def size(key: str) -> int:
        value = about.get(key)
        return value if isinstance(value, int) else 0

    width, number, words = (size(key) for key in _SHAPE)
    if not (width and number and words):
        # A family that names them otherwise has to be tried.
        return False
    rows = config.batch_size
    length = padded_length(max(ready.splits["train"].prepared.lengths))
    wide = 20 * width + 8 * size("intermediate_size")
    square = 2 * size("num_attention_heads") * length
    step = 4 * rows * length * (number * (wide + square) + 3 * words)
    return grown * files + step <= _SMALL * free_memory()
