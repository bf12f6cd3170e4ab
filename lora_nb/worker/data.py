"""A look through data: every row as tokens, counted, with all that is wrong."""

from __future__ import annotations

from mlx_lm.utils import load_config

from lora_nb.config import DataConfig
from lora_nb.core.load import context_of, find_model, load_words
from lora_nb.data.measure import measure
from lora_nb.data.survey import open_all
from lora_nb.data.templates import resolve_template
from lora_nb.errors import LoraError
from lora_nb.runs.events import Ended, Progress
from lora_nb.runs.whole_file import write_whole
from lora_nb.worker.session import Session

__all__ = ["look_through"]


def look_through(session: Session) -> Ended:
    """Count the tokens of all rows; the result is the run's `report.json`."""
    config = session.run.config
    if not isinstance(config, DataConfig) or config.model is None:
        raise LoraError("This run's config.yaml is no data config with a model.")
    path = find_model(config.model)
    tokenizer = load_words(path, config)
    model_config = load_config(path)
    session.checkpoint_if_stopped()

    def progress(done: int, total: int) -> None:
        session.emit(Progress(stage="reading rows", done=done, total=total))
        session.checkpoint_if_stopped()

    found = measure(
        open_all(config),
        tokenizer,
        resolve_template(tokenizer, config.chat_template),
        config,
        context=context_of(model_config),
        vocab=model_config.get("vocab_size"),
        progress=progress,
    )
    write_whole(session.run.report_path, found.to_json())
    rows = sum(split.rows for split in found.splits.values())
    return Ended(status="completed", message=f"{rows} rows in {len(found.splits)} splits.")
