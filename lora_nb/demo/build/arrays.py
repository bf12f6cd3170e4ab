"""Pretraining text as token arrays, made by several processes and bucketed by length."""

import multiprocessing
import time
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lora_nb.demo.build.corpus import pretraining
from lora_nb.demo.build.tokenizer import render

WIDTHS: Final = (64, 96, 128, 224)
"""Row widths in tokens; texts that are longer than the last are dropped."""
SHARD: Final = 20_000
"""Texts in a shard."""

Tokens = NDArray[np.uint16]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Token ids and, for each token, whether it is one to learn to write: (rows, width + 1)."""

    tokens: Tokens
    learn: Flags


def _shard(job: tuple[int, int, frozenset[str], str]) -> dict[int, Rows]:
    """Return one shard's texts by width."""
    seed, shard, avoid, model = job
    tokenizer = Tokenizer.from_str(model)
    texts = [render(text) for text in islice(pretraining(seed, shard, avoid), SHARD)]
    encoded = tokenizer.encode_batch([piece for text in texts for piece, _ in text])
    pieces = iter(encoded)
    found: dict[int, list[tuple[list[int], list[bool]]]] = {width: [] for width in WIDTHS}
    for text in texts:
        ids: list[int] = []
        learn: list[bool] = []
        for _, wanted in text:
            piece = next(pieces).ids
            ids += piece
            learn += [wanted] * len(piece)
        width = next((w for w in WIDTHS if len(ids) <= w + 1), None)
        if width is not None:
            found[width].append((ids, learn))
    return {width: _padded(rows, width + 1) for width, rows in found.items()}


def _padded(rows: list[tuple[list[int], list[bool]]], size: int) -> Rows:
    """Return rows of equal size, filled up with token 0."""
    tokens = np.zeros((len(rows), size), np.uint16)
    learn = np.zeros((len(rows), size), np.bool_)
    for number, (ids, wanted) in enumerate(rows):
        tokens[number, : len(ids)] = ids
        learn[number, : len(ids)] = wanted
    return Rows(tokens, learn)


def pretraining_arrays(
    tokenizer: Tokenizer, seed: int, count: int, avoid: frozenset[str], processes: int
) -> dict[int, Rows]:
    """Return about `count` texts by width; the same for any number of processes."""
    model = tokenizer.to_str()
    jobs = [(seed, shard, avoid, model) for shard in range(max(1, count // SHARD))]
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        shards = pool.map(_shard, jobs, chunksize=1)
    rows = {
        width: Rows(
            np.concatenate([shard[width].tokens for shard in shards]),
            np.concatenate([shard[width].learn for shard in shards]),
        )
        for width in WIDTHS
    }
    sizes = ", ".join(f"{len(rows[width].tokens)} of {width}" for width in WIDTHS)
    print(f"pretraining texts: {sizes} tokens ({time.perf_counter() - start:.0f} s)", flush=True)
    return rows
