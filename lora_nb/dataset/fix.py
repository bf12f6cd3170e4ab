"""A cleaned copy of data, beside the original."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection
from pathlib import Path

from lora_nb.config import DataConfig
from lora_nb.data.cleaning import CHANGED, Cleaned, clean, lines_of
from lora_nb.data.mark import Mark, read_mark
from lora_nb.data.sources import Splits
from lora_nb.data.survey import open_all
from lora_nb.data.writing import new_folder, write_files
from lora_nb.dataset.account import Account
from lora_nb.dataset.look import look_at, measure_all, with_model
from lora_nb.dataset.report import DataReport
from lora_nb.display.data_screen import DataScreen
from lora_nb.errors import LoraError

__all__ = ["fix_data"]


def fix_data(config: DataConfig) -> DataReport:
    """Write a cleaned copy and report on it; `.fixed` says what was dropped or changed.

    The copy of `rows` is the folder `rows-fixed` beside it, with files of the same names; that of
    `rows.jsonl` is `rows-fixed/rows.jsonl`. What has no place on this disk is copied into the
    working folder. Raises LoraError if the folder is there and not an unchanged copy of before, or
    if no row would be left.
    """
    config = with_model(config)
    open_all(config)
    whole = dataclasses.replace(config, split=None)
    splits = open_all(whole)
    folder, file = _target(config)
    _check_free(folder)
    screen = DataScreen(config.data)
    cleaned = clean(splits, config, _refused(whole, splits, screen))
    _check_rows_left(splits, cleaned)
    account = Account(
        _title(config),
        folder if file is None else folder / file,
        {name: (len(rows), len(cleaned.kept[name])) for name, rows in splits.items()},
        cleaned.changes,
    )
    _write(folder, file, splits, cleaned, account)
    fixed = dataclasses.replace(config, data=str(account.path), hf_dataset=None)
    return look_at(fixed, screen=screen, fixed=account)


def _refused(
    config: DataConfig, splits: Splits, screen: DataScreen
) -> dict[str, Collection[int]] | None:
    """The rows that the model's template or tokenizer refuses; None without a model."""
    if config.model is None:
        return None
    measured = measure_all(config, splits, screen)
    return {name: split.broken for name, split in measured.splits.items()}


def _title(config: DataConfig) -> str:
    return "hf_dataset" if config.hf_dataset else config.data


def _target(config: DataConfig) -> tuple[Path, str | None]:
    """The folder of the copy, and the file in it if the original is one file."""
    path = Path(config.data).expanduser()
    if config.hf_dataset or not path.exists():
        return Path(f"{Path(_title(config)).name}-fixed"), None
    if path.is_file():
        return path.with_name(f"{path.stem}-fixed"), path.name
    mark = read_mark(path)
    if mark is not None and mark.made == "notebook":
        return Path(f"{mark.title}-fixed"), None
    if path.name in ("", ".."):
        path = path.resolve()
    return path.with_name(f"{path.name}-fixed"), None


def _check_free(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    mark = read_mark(folder)
    if mark is None or mark.made != "copy":
        raise LoraError(
            f"'{folder}' is there already and was not made by lora_nb, so it is not overwritten. "
            "Rename it, then fix again."
        )
    if not mark.still_holds(folder):
        raise LoraError(
            f"'{folder}' is a copy that lora_nb made, but it was changed since, so it is not "
            "overwritten. Rename it, then fix again."
        )


def _check_rows_left(splits: Splits, cleaned: Cleaned) -> None:
    name, rows = next(splits.items())
    if cleaned.kept[name]:
        return
    reasons = [each for each in cleaned.changes if each.split == name and each.code not in CHANGED]
    listing = "".join(f"\n  - {each.lines[0]} ({each.count} in all)" for each in reasons)
    raise LoraError(f"None of the {len(rows)} rows of {name} would be left:{listing}")


def _write(
    folder: Path, file: str | None, splits: Splits, cleaned: Cleaned, account: Account
) -> None:
    files = {
        file or f"{name}.jsonl": lines_of(rows, cleaned.kept[name])
        for name, rows in splits.items()
        if cleaned.kept[name]
    }
    with new_folder(folder.parent) as part:
        digests = write_files(part, files)
        mark = Mark(made="copy", title=account.source, files=digests, account=account.lines)
        mark.write(part)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
