"""A program that saves checkpoints without end, to be killed: `python -m tests.faults.kills_saver`.

It reads one session a line, as JSON, forks a child for it and prints the child's process id. Only
the fork makes hundreds of kills cheap: MLX is imported once, and used in the children alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map

from lora_nb.core.checkpoint import CheckpointWriter
from lora_nb.core.resume import newest_whole
from lora_nb.core.trees import flat, value_of


@dataclass(frozen=True)
class Session:
    """One writer: where it saves, whose adapter it is, and what it does beside saving."""

    checkpoints: str
    published: str
    told: str
    run: str
    rank: int
    keep: int | None
    only_best: bool
    twice: bool
    carries: bool

    def as_line(self) -> str:
        """The session as the program reads it."""
        return json.dumps(asdict(self)) + "\n"


def save_without_end(session: Session) -> None:
    """Go on behind the newest checkpoint; tell of each save once it is made."""
    folder = Path(session.checkpoints)
    writer = CheckpointWriter(
        folder,
        Path(session.published),
        {"run": session.run, "lora_parameters": {"rank": session.rank}},
        only_best=session.only_best,
        keep=session.keep,
    )
    writer.prepare()
    saved, damaged = newest_whole(folder)
    assert not damaged, damaged
    if saved is not None:
        kept = {**saved.weights, **saved.optimizer, **saved.carried}
        assert {value_of(array.max()) for array in kept.values()} == {saved.step}
    step = 1 if saved is None else saved.step + 1
    model = nn.Sequential(
        nn.Linear(64, session.rank, bias=False), nn.Linear(session.rank, 64, bias=False)
    )
    optimizer = optim.Adam(1e-3)
    optimizer.init(model.trainable_parameters())
    told = os.open(session.told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    best = 0
    while True:
        # Every number of a save is its step, so that none can come from another one.
        weights = tree_map(partial(_filled, step), model.trainable_parameters())
        model.update(weights)
        state = flat(tree_map(partial(_filled, step), optimizer.state))
        gathered = {"gradients": weights, "tokens": mx.array(step)} if session.carries else {}
        best = step if step % 3 == 0 else best
        for _ in range(2 if session.twice else 1):
            writer.save(step, model, state, flat(gathered), {"run": session.run}, best)
            os.pwrite(told, f"{step:07d} {best:07d}".encode(), 0)
        step += 1


def _filled(value: int, array: mx.array) -> mx.array:
    return mx.full(array.shape, value, dtype=array.dtype)


def main() -> None:
    """Start a child for each line until there are no more."""
    # Nobody waits for the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        session = Session(**json.loads(line))
        child = os.fork()
        if child == 0:
            try:
                save_without_end(session)
            except Exception:  # noqa: BLE001 (it must not go back into the parent's loop)
                traceback.print_exc()
            os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
