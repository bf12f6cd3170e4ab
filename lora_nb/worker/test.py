"""A test run: loss and perplexity on the test rows."""

from __future__ import annotations

import dataclasses
import time

from lora_nb.config import TestConfig
from lora_nb.core.adapters import put_on
from lora_nb.core.batching import Split
from lora_nb.core.evaluate import Evaluator, perplexity_of
from lora_nb.core.load import Loaded
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import find_adapter, template_of
from lora_nb.runs.events import Ended, Progress, TestLoss
from lora_nb.worker.model import load_for
from lora_nb.worker.prepare import make_ready
from lora_nb.worker.rows import check_base
from lora_nb.worker.session import Session, StoppedEarlyError

__all__ = ["evaluate_test", "test"]


def test(session: Session) -> Ended:
    """Test a model, with its adapter if one is named."""
    config = session.run.config
    if not isinstance(config, TestConfig):
        raise LoraError("This run's config.yaml is no test config.")
    adapter = find_adapter(config.adapter_path) if config.adapter_path else None
    if adapter is not None and config.chat_template is None:
        config = dataclasses.replace(config, chat_template=template_of(adapter))
    ready = make_ready(session, config, ["test"])
    if adapter is not None:
        check_base(adapter, ready.model_path, config.model, session.warn)

    def fit_out(loaded: Loaded) -> None:
        if adapter is not None:
            put_on(loaded.model, adapter)
        loaded.model.freeze()

    loaded = load_for(session, config, ready, fit_out)
    found = evaluate_test(
        session, Evaluator(loaded.model), ready.splits["test"], config.test_batches
    )
    return Ended(
        status="completed",
        message=f"Test loss {found.loss:.3f}, perplexity {found.perplexity:.3f}.",
    )


def evaluate_test(session: Session, evaluate: Evaluator, split: Split, batches: int) -> TestLoss:
    """Loss on the test rows, told as an event. Raises StoppedEarlyError if stopped."""
    started = time.perf_counter()

    def tick(done: int, total: int) -> bool:
        session.emit(Progress(stage="testing", done=done, total=total))
        return not session.stop_wanted()

    found = evaluate(split, batches, tick)
    if found is None:
        raise StoppedEarlyError
    event = TestLoss(
        loss=found.loss,
        perplexity=perplexity_of(found.loss),
        rows=found.rows,
        tokens=found.tokens,
        seconds=round(time.perf_counter() - started, 3),
    )
    session.emit(event)
    return event
