"""The verbs as Python functions, and the `Run` that they return."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.config import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    FitConfig,
    FuseConfig,
    GenerateConfig,
    TestConfig,
    TrainConfig,
    flags_of,
    load,
)
from lora_nb.display import (
    RunSummary,
    StreamView,
    mimebundle,
    monitor,
    runs_frame,
    summary_of,
)
from lora_nb.display.foreground import watch_run
from lora_nb.display.notebook import is_leaving, show, this_cell
from lora_nb.errors import LoraError
from lora_nb.runs import attach as following
from lora_nb.runs import control, engine, launch, store
from lora_nb.runs.adapters import base_of, find_adapter
from lora_nb.runs.events import Fidelity, Record, TestLoss
from lora_nb.runs.folder import Checkpoint, RunConfig, RunFolder, RunStatus

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lora_nb.dataset.report import DataReport
    from lora_nb.display import Generated
    from lora_nb.display.comparison import Comparison
    from lora_nb.environment_report import Report
    from lora_nb.fitting.report import FitReport
    from lora_nb.runs.gguf import GgufReport

__all__ = [
    "Run",
    "attach",
    "compare",
    "compared",
    "convert",
    "data_report",
    "doctor",
    "export_gguf",
    "fit",
    "fuse",
    "generate",
    "list_runs",
    "release",
    "start",
    "stop",
    "test",
    "train",
]


class Run:
    """A run, live or over: its state, its figures, and the means to steer it."""

    def __init__(self, folder: RunFolder, *, shown: bool = False) -> None:
        self.folder = folder
        # A cell that has just watched the run needs no second picture of it as its result.
        self._shown_in = this_cell() if shown else None

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def status(self) -> RunStatus:
        """starting, running, paused, completed, stopped, failed, aborted or crashed."""
        return self.folder.status

    @property
    def config(self) -> RunConfig:
        """The complete config of the run."""
        return self.folder.config

    @property
    def records(self) -> list[Record]:
        """Every event so far."""
        return self.folder.records()

    @property
    def metrics(self) -> pd.DataFrame:
        """Losses, rates and memory by step, one row for each step with a report."""
        from lora_nb.display.metrics import metrics

        return metrics(self.folder.records())

    @property
    def test(self) -> TestLoss | None:
        """Loss and perplexity on the test rows, if they were computed."""
        found = [r.event for r in self.folder.records() if isinstance(r.event, TestLoss)]
        return found[-1] if found else None

    @property
    def fidelity(self) -> pd.DataFrame | None:
        """How a fused model compares with its base and adapter, if that was checked."""
        from lora_nb.display.fidelity import fidelity_frame

        found = [r.event for r in self.folder.records() if isinstance(r.event, Fidelity)]
        return fidelity_frame(found[-1]) if found else None

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints on disk, oldest first."""
        return self.folder.checkpoints

    @property
    def adapter_path(self) -> Path | None:
        """The newest adapter of the run, or None before the first checkpoint."""
        return self.folder.adapter_path

    def plot(self) -> Figure:
        """The loss curve as a matplotlib figure."""
        from lora_nb.display import loss_curve

        return loss_curve(self.folder.records(), title=self.name)

    def stop(self) -> None:
        """Ask the worker to stop after its step and save."""
        control.send(self.folder, "stop")

    def pause(self) -> None:
        """Ask the worker to wait; it stops and saves if nobody resumes it within an hour."""
        control.send(self.folder, "pause")

    def resume(self) -> None:
        """Let a paused worker go on."""
        control.send(self.folder, "resume")

    def evaluate(self) -> None:
        """Ask the worker for a validation after its step."""
        control.send(self.folder, "evaluate")

    def abort(self) -> None:
        """End the worker at once, without saving."""
        control.abort(self.folder)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run is over. Raises LoraError after `timeout` seconds."""
        if not following.wait(self.folder, timeout):
            raise LoraError(f"{self.name} is still {self.status} after {timeout:g} seconds.")
        return self

    def settle(self, timeout: float = 10.0) -> RunStatus:
        """The status once a stop has had time to be carried out, at most `timeout` seconds."""
        following.wait(self.folder, timeout)
        return self.status

    def watch(self, *, background: bool = False) -> Run:
        """Show the run until it is over; an interrupt ends the watching, not the run.

        Raises LoraError if the run failed.
        """
        if background:
            _monitored(self.folder)
            return Run(self.folder, shown=True)
        return _watched(self.folder, owner=False)

    def summary(self) -> str:
        """The run in a few lines of text."""
        text: str = mimebundle(self.folder)["text/plain"]
        return text

    def __repr__(self) -> str:
        return f"<lora_nb run {self.name}: {self.status}>"

    def _ipython_display_(self) -> None:
        if self._shown_in is None or self._shown_in != this_cell():
            show(mimebundle(self.folder))


def train(config: str | Path | None = None, *, background: bool = False, **options: Any) -> Run:
    """Fine-tune a model; the options are those of `%lora_train`, e.g. `train(model="demo")`.

    `config` names a YAML file, options go on top; `data` may also be rows: a pandas frame, a list
    of dicts, a datasets.Dataset, or a dict of them by split. With `background` the call returns at
    once.
    Raises LoraError for wrong options, and if the run fails.
    """
    return start(load_options(TrainConfig, config, options), background=background)


def test(config: str | Path | None = None, *, background: bool = False, **options: Any) -> Run:
    """Loss and perplexity on the test rows; the options are those of `%lora_test`."""
    return start(load_options(TestConfig, config, options), background=background)


def convert(config: str | Path | None = None, *, background: bool = False, **options: Any) -> Run:
    """Quantise, dequantise or cast a model; the options are those of `%lora_convert`.

    E.g. `convert(model="mistralai/Mistral-7B-v0.1", quantize=True)`, which writes `mlx_model`.
    """
    return start(load_options(ConvertConfig, config, options), background=background)


def fuse(config: str | Path | None = None, *, background: bool = False, **options: Any) -> Run:
    """Put an adapter into its base model; the options are those of `%lora_fuse`.

    E.g. `fuse(adapter_path="latest")`, which writes `lora_fused_model`; `.fidelity` of the run
    tells how it compares with base and adapter.
    """
    return start(load_options(FuseConfig, config, options), background=background)


def export_gguf(model: str | Path, out: str | Path, *, kind: str = "f16") -> GgufReport:
    """Write a model folder as a GGUF file (f16, f32, bf16 or q8_0), and check it by llama.cpp.

    The file may be anywhere; `%lora_fuse --export-gguf` writes one beside the fused model. Raises
    LoraError for a model that llama.cpp can't compute, before anything is written.
    """
    from lora_nb.runs import gguf

    return gguf.export(str(model), str(out), kind)


def compare(
    *contenders: str | Path, config: str | Path | None = None, **options: Any
) -> Comparison:
    """Let models and adapters answer the same rows; the options are those of `%lora_compare`.

    `contenders` are `base`, adapter folders, runs, `run@step`, and folders of fused models; base
    and `adapters` if none is named.
    """
    named = {"contenders": [str(each) for each in contenders]} if contenders else {}
    return compared(load_options(CompareConfig, config, {**options, **named}))


def compared(config: CompareConfig) -> Comparison:
    """Compare with a complete config, in a run that is watched."""
    from lora_nb.display.comparison import Comparison

    run = start(config)
    return Comparison.of(run.folder.comparison_path)


def start(config: RunConfig, *, background: bool = False) -> Run:
    """Start a run with a complete config, and watch it unless it is to be in the background."""
    folder = launch.start(_named(config))
    if not background:
        return _watched(folder, owner=True)
    _monitored(folder)
    return Run(folder, shown=True)


def _monitored(folder: RunFolder) -> None:
    monitor(str(folder.path), partial(following.follow, folder), lambda: folder.status)


def _named(config: Any) -> Any:
    """The config with the names of runs replaced by the adapters that are meant.

    The worker would take `latest` for itself, and a record is only true with the path.
    """
    if isinstance(config, TrainConfig):
        wanted = config.resume_adapter_file
        if not wanted or Path(wanted).expanduser().is_file():
            return config
        found = find_adapter(wanted, "resume_adapter_file")
        return dataclasses.replace(config, resume_adapter_file=str(found))
    if isinstance(config, CompareConfig) or not getattr(config, "adapter_path", None):
        return config
    found = find_adapter(config.adapter_path)
    if isinstance(config, FuseConfig) and config.model is None:
        config = dataclasses.replace(config, model=base_of(found))
    return dataclasses.replace(config, adapter_path=str(found))


class _DetachedError(Exception):
    """The watching was interrupted; the run goes on."""


def _watched(folder: RunFolder, *, owner: bool) -> Run:
    """Show a run to its end. An interrupt stops it if this cell has started it (`owner`)."""

    def interrupted(count: int) -> None:
        # A restart of the kernel begins with an interrupt, too, but is no wish to stop the run.
        if not owner or is_leaving():
            raise _DetachedError
        control.interrupt(folder, count)

    try:
        watch_run(folder, on_interrupt=interrupted)
    except _DetachedError:
        print(f"No longer watched, but going on. %lora_stop {folder.name} stops it.")
        return Run(folder, shown=True)
    problem = _problem(folder)
    if problem is not None:
        raise LoraError(problem)
    return Run(folder, shown=True)


def _problem(folder: RunFolder) -> str | None:
    """Why a run is no success, or None."""
    status = folder.status
    if status == "crashed":
        tail = folder.log_tail(3)
        words = f" Its last words:\n{tail}" if tail else ""
        return f"The worker of {folder.name} is gone without a word (killed?).{words}"
    if status not in ("failed", "aborted"):
        return None
    end = folder.ended
    return end.message if end else f"{folder.name}: {status}."


def generate(
    prompt: str, *, compare: bool = False, config: str | Path | None = None, **options: Any
) -> Generated:
    """Generate text; the options are those of `%lora_generate`.

    With `compare` the base model answers too, beside the adapter (`adapters` if none is named).
    The model stays in memory for the next call; `release()` frees it.
    """
    given = {**options, "prompt": prompt}
    if compare:
        given.setdefault("adapter_path", "adapters")
    return generated(load_options(GenerateConfig, config, given), compare=compare)


def generated(config: GenerateConfig, *, compare: bool = False) -> Generated:
    """Generate with a complete config; the text is shown as it comes and stays."""
    if compare and not config.adapter_path:
        raise LoraError("--compare needs an adapter: give --adapter-path.")
    if not (config.prompt or "").strip():
        # Said here, before a model is fetched for nothing.
        raise LoraError("The prompt is empty. Write it behind the flags or into the cell.")
    config = _named(config)
    labels = ("base", "adapter") if compare else ("adapter" if config.adapter_path else "base",)
    view = StreamView(labels)
    stats: dict[str, str] = {}
    pieces = engine.generate(config, labels)
    try:
        for piece in pieces:
            view.feed(piece.label, piece.text)
            stats |= {f"{piece.label} {key}": _short(value) for key, value in piece.stats.items()}
    except KeyboardInterrupt:
        stats["interrupted"] = "yes"
    finally:
        _close(pieces)
    return view.close(stats)


def _close(pieces: Iterator[engine.Piece]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def release() -> bool:
    """Free the memory of the generation engine; False if there is none."""
    return engine.release()


def data_report(
    data: object = None, *, fix: bool = False, config: str | Path | None = None, **options: Any
) -> DataReport:
    """A look at data as training will see it; the options are those of `%lora_data`.

    `data` is a path, a name, a pandas frame, a list of dicts, a datasets.Dataset, or a dict of
    them by split. With `fix` a cleaned copy is written and looked at; `.fixed` says what was
    dropped or changed for it.

    With a `model` every row is turned into tokens and checked, in a process of its own; the result
    is kept for the next look. Without one only the rows are looked at, in an instant.
    """
    given = options if data is None else {**options, "data": data}
    loaded = load_options(DataConfig, config, given)
    if fix:
        from lora_nb.dataset.fix import fix_data

        return fix_data(loaded)
    from lora_nb.dataset.look import look_at

    return look_at(loaded)


def fit(config: str | Path | None = None, **options: Any) -> FitReport:
    """Try whether a training fits, how long it takes, and what to change if not.

    The options are those of `%lora_train`. One step on the longest batch is taken, in a process of
    its own. Raises LoraError if that fails.
    """
    return tried(load_options(FitConfig, config, options))


def tried(config: FitConfig) -> FitReport:
    """Try a training with a complete config."""
    from lora_nb.fitting.look import try_fit

    return try_fit(_named(config))


def list_runs() -> pd.DataFrame:
    """All runs, the newest first, as a DataFrame."""
    return runs_frame(_summary(folder) for folder in store.all_runs())


def _summary(folder: RunFolder) -> RunSummary:
    try:
        return summary_of(folder)
    except (LoraError, ValueError, OSError):
        # One damaged run must not hide the others; attaching to it says what is wrong.
        return RunSummary(run=folder.name, verb="", status="damaged")


def attach(name: str = "latest") -> Run:
    """A run by its name, a part of it, its path, or `latest`; `.watch()` follows it."""
    return Run(store.find(name))


def stop(name: str = "latest") -> Run:
    """Ask a run to stop after its step and save."""
    run = attach(name)
    run.stop()
    return run


def doctor() -> Report:
    """What this machine has and lacks for fine-tuning."""
    from lora_nb.environment_report import environment

    return environment()


def load_options(kind: Any, file: str | Path | None, options: Mapping[str, Any]) -> Any:
    """A config from keyword arguments; `rank=4` may stand for `lora_parameters={"rank": 4}`.

    Rows that are given themselves, as a frame or a list, are written to a folder of their own.
    """
    inner = {flag.path[-1]: flag.path for flag in flags_of(kind) if len(flag.path) == 2}
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key == "data" and not isinstance(value, str | Path):
            from lora_nb.dataset.given import keep_rows

            values[key] = str(keep_rows(value))
        elif key in inner:
            nested = values.setdefault(inner[key][0], {})
            nested[key] = value
        elif isinstance(value, Mapping) and isinstance(values.get(key), dict):
            values[key] |= value
        elif isinstance(value, Mapping):
            values[key] = dict(value)
        else:
            values[key] = str(value) if isinstance(value, Path) else value
    path = Path(file).expanduser() if file is not None else None
    return load(kind, file=path, flags=values, flag_origin="")
