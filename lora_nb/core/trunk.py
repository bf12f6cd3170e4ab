"""The frozen trunk: activations that enter the first trained block, kept from the first epoch.

With the last k of n blocks trained, everything below block n - k computes the same for a row in
every epoch. So it is computed once a row, and the blocks below can go once every row is there.

No family's code is known here. Blocks are exchanged in the model's own list while it is called:
one that records what enters it, one that is entered by what was recorded, and ones that do
nothing. Whatever a family does around its blocks (embedding scales, masks, norms, soft caps)
stays as it is; what nobody uses of it is never computed, since MLX computes lazily. Causal
attention and right padding make a row's activations independent of the other rows of its batch,
unless positions turn with its length (`positions`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.packed import apart
from lora_nb.core.trees import flat
from lora_nb.core.trunk_store import Store

__all__ = ["NOT_ENTERED", "Trunk", "first_trained"]

NOT_ENTERED = "No trunk cache: this model can't be entered at a block."


def first_trained(model: nn.Module) -> int:
    """The number of the first trained block; 0 if there is no frozen trunk below one.

    That is so as well if something below the blocks is trained, such as the embedding.
    """
    blocks = [bool(flat(block.trainable_parameters())) for block in model.layers]
    inside = sum(len(flat(block.trainable_parameters())) for block in model.layers)
    outside = set(flat(model.trainable_parameters())) - _names_in_blocks(model)
    above = all(name.startswith(("lm_head.", "model.norm.")) for name in outside)
    if not inside or not above:
        return 0
    return blocks.index(True)


def _list_of_blocks(model: nn.Module) -> list[nn.Module]:
    """The list in which a model looks its blocks up; `model.layers` may be a copy of it.

    Raises ValueError if there is none.
    """
    blocks = [id(block) for block in model.layers]
    for module in model.modules():
        for value in module.values():
            if isinstance(value, list) and [id(each) for each in value] == blocks:
                return value
    raise ValueError("The blocks of this model are in no list.")


def _names_in_blocks(model: nn.Module) -> set[str]:
    ids = {id(weight) for block in model.layers for weight in flat(block.parameters()).values()}
    return {name for name, weight in flat(model.parameters()).items() if id(weight) in ids}


class _Skip(nn.Module):
    """Takes the place of a block that is not needed; it hands on what it gets.

    Attributes that a model looks up on its blocks (such as `use_sliding`) are kept.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        plain = {key: value for key, value in vars(block).items() if not key.startswith("_")}
        self.__dict__.update(plain)

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        return x


class _Record(_Skip):
    """Keeps what enters a block."""

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        self.__dict__["seen"] = x
        return x

    @property
    def entered(self) -> mx.array:
        seen: mx.array = self.__dict__["seen"]
        return seen


class _Entry(_Skip):
    """A block that is entered by given activations."""

    def __init__(self, block: nn.Module, given: mx.array) -> None:
        super().__init__(block)
        self.__dict__["block"] = block
        self.__dict__["given"] = given

    def __call__(self, x: mx.array, *args: Any, **kwargs: Any) -> mx.array:
        left: mx.array = self.__dict__["block"](self.__dict__["given"], *args, **kwargs)
        return left


@contextmanager
def _exchanged(layers: list[nn.Module], blocks: Mapping[int, nn.Module]) -> Iterator[None]:
    before = {number: layers[number] for number in blocks}
    for number, block in blocks.items():
        layers[number] = block
    try:
        yield
    finally:
        for number, block in before.items():
            layers[number] = block


class Trunk:
    """The activations of the rows of some splits, computed when first wanted.

    Raises ValueError for a model whose blocks can't be exchanged.
    """

    def __init__(self, model: nn.Module, first: int, stores: Mapping[str, Store]) -> None:
        self._model = model
        self._layers = _list_of_blocks(model)
        self._first = first
        self._stores = dict(stores)
        self.released = False

    def knows(self, split: str) -> bool:
        """Whether rows of this split are kept."""
        return split in self._stores

    def hidden(self, batch: TokenBatch) -> mx.array:
        """What enters the first trained block for a batch, [rows, length - 1, width].

        Positions of padding hold anything; no target depends on them.
        """
        store, length = self._stores[batch.split], batch.tokens.shape[1] - 1
        if not store.has(batch.numbers):
            hidden = self.compute(batch.tokens, batch.parts)
            store.put(batch.numbers, hidden)
            return hidden
        return store.take(batch.numbers, length)

    def compute(self, tokens: mx.array, parts: mx.array | None = None) -> mx.array:
        """The frozen part of the forward pass; `parts` numbers the rows in packed sequences."""
        layers = self._layers
        record = _Record(layers[self._first])
        above = range(self._first + 1, len(layers))
        with _exchanged(layers, {n: _Skip(layers[n]) for n in above} | {self._first: record}):
            self._model(tokens[:, :-1], **apart(self._model, parts))
        return record.entered

    @contextmanager
    def entered(self, hidden: mx.array) -> Iterator[None]:
        """Within it, the model ignores its frozen part and begins with `hidden`."""
        layers = self._layers
        below: dict[int, nn.Module] = {n: _Skip(layers[n]) for n in range(self._first)}
        entry = _Entry(layers[self._first], hidden)
        with _exchanged(layers, below | {self._first: entry}):
            yield

    def is_complete(self, split: str) -> bool:
        """Whether all rows of a split are there."""
        return self._stores[split].is_complete

    def fill(self, split: Split, steps: list[int]) -> None:
        """Compute the rows of some batches that are not there yet."""
        for step in steps:
            mx.eval(self.hidden(split.batch(step)))

    def release(self) -> int:
        """Take the frozen blocks out of the model; returns the bytes that they held."""
        layers = self._layers
        freed = sum(
            w.nbytes for n in range(self._first) for w in flat(layers[n].parameters()).values()
        )
        for number in range(self._first):
            layers[number] = _Skip(layers[number])
        self.released = True
        gc.collect()
        mx.clear_cache()
        return freed

    def close(self) -> None:
        """Let the activations go."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
