"""Rows: a sequence of dicts that knows where each of them came from."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload

from lora_nb.data.faults import RowError
from lora_nb.data.search import Needle

__all__ = ["Rows", "combined"]


class Rows(Sequence[dict[str, Any]]):
    """The rows of one split.

    `rows[i]` is a dict, or raises RowError (a LoraError) with the place if that row is broken.
    """

    name: str
    """Split: train, valid or test."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def row(self, index: int) -> dict[str, Any]:
        """Row `index`, 0 <= index < len(self)."""

    @abstractmethod
    def where(self, index: int) -> str:
        """The place of a row, as `train.jsonl:12`."""

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self.row(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} rows, there is no row {index}")
        return self.row(index % len(self))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.row(i) for i in range(len(self)))

    def find(self, text: str) -> Iterator[int]:
        """Numbers of the rows that hold a text in a key or value, whatever its letter case."""
        needle = Needle(text)
        for index in range(len(self)):
            try:
                row = self.row(index)
            except RowError:
                continue
            if needle.in_row(row):
                yield index

    def fingerprint(self) -> str:
        """sha256 (hex) of the content; equal rows in equal order give equal fingerprints."""
        digest = hashlib.sha256()
        for row in self:
            text = json.dumps(row, sort_keys=True, default=str)
            digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} rows>"


def combined(*parts: str) -> str:
    """sha256 (hex) of some texts, their ends included."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
