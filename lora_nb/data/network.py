"""Telling a missing connection from other faults, whichever library has raised it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

__all__ = ["chain_of", "is_network"]


def chain_of(problem: BaseException) -> list[BaseException]:
    """A fault and those that it comes from."""
    chain: list[BaseException] = []
    each: BaseException | None = problem
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    return chain


def is_network(problem: BaseException, names: AbstractSet[str]) -> bool:
    """Whether a fault comes from the connection, by its class or by the `names` of its classes."""
    return any(
        isinstance(each, (ConnectionError, TimeoutError))
        or bool(names & {kind.__name__ for kind in type(each).__mro__})
        for each in chain_of(problem)
    )
