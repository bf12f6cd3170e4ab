"""The verbs as Python functions, and the `Run` that they return."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.api.generating import generated, release
from lora_nb.api.history import attach, delete, diff, list_runs, name_of, plot, stop
from lora_nb.api.keywords import load_options, path_of, values_of
from lora_nb.api.run import Run, Sweep
from lora_nb.api.starting import launched, named, relaunched, resumed, resumed_sweep, start
from lora_nb.config import (
    CompareConfig,
    ConvertConfig,
    DataConfig,
    FitConfig,
    FuseConfig,
    GenerateConfig,
    SweepConfig,
    TestConfig,
    TrainConfig,
    UploadConfig,
    load,
)
from lora_nb.config.several import in_a_list, spread
from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from lora_nb.dataset.report import DataReport
    from lora_nb.display import Generated
    from lora_nb.display.comparison import Comparison
    from lora_nb.environment_report.report import Report
    from lora_nb.fitting.report import FitReport
    from lora_nb.runs.gguf import GgufReport
    from lora_nb_widgets.studio import Studio

__all__ = [
    "Run",
    "Sweep",
    "attach",
    "compare",
    "compared",
    "convert",
    "data_report",
    "delete",
    "diff",
    "doctor",
    "export_gguf",
    "fit",
    "fuse",
    "generate",
    "generated",
    "launched",
    "list_runs",
    "load_options",
    "plot",
    "relaunched",
    "release",
    "resumed",
    "resumed_sweep",
    "start",
    "stop",
    "studio",
    "sweep",
    "test",
    "train",
    "tried",
    "upload",
    "values_of",
]


def train(
    config: str | Path | None = None,
    *,
    background: bool = False,
    resume: str | Path | Run | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a model; the options are those of `%lora_train`, e.g. `train(model="demo")`.

    `config` names a YAML file, options go on top; `data` may also be rows: a pandas frame, a list
    of dicts, a datasets.Dataset, or a dict of them by split. With `background` the call returns at
    once. `resume` names a training that is over (or `latest`) and goes on exactly where it was;
    then options say what changes, e.g. `train(resume="latest", iters=1200)`.
    Raises LoraError for wrong options, and if the run fails.
    """
    if resume is not None:
        if config is not None:
            raise LoraError("resume: the config is the run's own. Give options for what changes.")
        return resumed(name_of(resume), values_of(TrainConfig, options), background=background)
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


def upload(
    path: str | Path,
    upload_repo: str,
    *,
    config: str | Path | None = None,
    background: bool = False,
    **options: Any,
) -> Run:
    """Upload a model, or an adapter alone, to the Hugging Face Hub, by default private.

    `path` is its folder, or the run that made it; the options are those of `%lora_upload`. Raises
    LoraError, before anything is sent, for secrets in files, and without a token that may write.
    """
    given = {**options, "path": path, "upload_repo": upload_repo}
    return start(load_options(UploadConfig, config, given), background=background)


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


def sweep(
    config: str | Path | None = None,
    *,
    background: bool = False,
    resume: str | Path | Run | None = None,
    **options: Any,
) -> Sweep:
    """Train once with each combination of options that are given as lists, one after another.

    E.g. `sweep(model="demo", data="demo", learning_rate=[1e-5, 1e-4], rank=[4, 8])`; the options
    are those of `train`, and a YAML file may have lists below the key `sweep`. `resume` names a
    sweep (or `latest`) that goes on with the trials which are not over.
    """
    if resume is None:
        values = spread(values_of(SweepConfig, options), in_a_list)
        loaded = load(SweepConfig, file=path_of(config), flags=values)
        return Sweep(start(loaded, background=background).folder, shown=True)
    if config is not None or options:
        raise LoraError("resume: the options are the sweep's own. Give nothing beside its name.")
    return resumed_sweep(name_of(resume), background=background)


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

    return try_fit(named(config))


def doctor() -> Report:
    """What this machine has and lacks for fine-tuning."""
    from lora_nb.environment_report.look import environment

    return environment()


def studio(config: str | Path | None = None, **options: Any) -> Studio:
    """Data, training, watching, playground and fusing in one panel with tabs.

    The options are those of `%lora_train`, to begin with; without any, the demo is chosen.
    """
    from lora_nb_widgets.studio import Studio

    return Studio(values_of(TrainConfig, options), config)
