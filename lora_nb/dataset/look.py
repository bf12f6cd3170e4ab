"""Look at data: open it, have a worker measure it, or take what was measured before."""

from __future__ import annotations

import dataclasses

from lora_nb.config import DataConfig
from lora_nb.data.measure import Measured
from lora_nb.data.sources import Splits
from lora_nb.data.survey import open_all, survey
from lora_nb.dataset import cache
from lora_nb.dataset.account import Account
from lora_nb.dataset.report import DataReport, mask_view
from lora_nb.display.data_screen import DataScreen
from lora_nb.display.foreground import watch_run
from lora_nb.display.mask_view import MaskView
from lora_nb.runs.passing import passing, report_of

__all__ = ["look_at", "look_at_row", "measure_all", "with_model"]

# With a model the worker looks at every row; here only the keys are wanted.
_FEW = 2000
_INTERRUPTED = "Interrupted: not every row was looked at, so nothing was counted."


def look_at(
    config: DataConfig, *, screen: DataScreen | None = None, fixed: Account | None = None
) -> DataReport:
    """A report on data; with a model, its tokens are counted in a worker, or were before.

    `fixed` says of what it is a cleaned copy.

    Raises LoraError if the data is not there; what is wrong with rows is in the report.
    """
    config = with_model(config)
    splits = open_all(config)
    if config.model is None:
        return DataReport(config, splits, survey(splits, config), fixed=fixed)
    screen = screen or DataScreen(config.data)
    seen = survey(splits, config, most=_FEW, sample=_FEW)
    report = DataReport(config, splits, seen, measure_all(config, splits, screen), fixed)
    if screen.shows_pictures:
        screen.finish(report.histogram(), report.alt_text)
        report.drawn()
    return report


def look_at_row(config: DataConfig, place: int | str) -> MaskView:
    """One row as training sees it; no other row is looked at."""
    config = with_model(config)
    return mask_view(config, open_all(config), place)


def with_model(config: DataConfig) -> DataConfig:
    """The embedded rows come with the embedded model."""
    if config.model is None and config.data == "demo":
        return dataclasses.replace(config, model="demo")
    return config


def measure_all(config: DataConfig, splits: Splits, screen: DataScreen) -> Measured:
    """Every row as tokens, counted; progress is shown on the screen.

    Raises LoraError if the worker fails or is stopped.
    """
    key = cache.key_of(config, splits)
    found = cache.find(key) if key else None
    if found is not None:
        return found
    cache.tidy()
    with passing(config, cache.folder() / "runs") as run:
        watch_run(run, screen=screen)
        text = report_of(run, _INTERRUPTED)
    found = Measured.from_json(text)
    # A model that had to be fetched first is there now.
    if (key := key or cache.key_of(config, splits)) is not None:
        cache.keep(key, found)
    return found
