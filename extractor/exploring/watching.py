"""How long work says how far it is, without knowing who looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watch(Protocol):
    """Passes items through; told how many there are, what is done with them, and what they are."""

    def __call__(self, items: Iterable[T], total: int, doing: str, unit: str = ...) -> Iterable[T]:
        """Give the same items in the same order."""
        ...


def unwatched(items: Iterable[T], total: int, doing: str, unit: str = "") -> Iterable[T]:  # noqa: ARG001
    """Nobody looks."""
    return items
