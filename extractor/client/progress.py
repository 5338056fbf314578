"""How far a call on many images has come, shown to whoever wants to see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = bool | Callable[[int, int | None], object]
"""True for a bar on standard error, or a function that is called with how many results there are, and how
many there will be (None where the images cannot be counted beforehand)."""


@contextmanager
def counting(progress: Progress, images: object) -> Iterator[Callable[[], object]]:
    """What is to be called once for each result."""
    total = len(images) if isinstance(images, Sized) else None
    if callable(progress):
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        yield count
        return
    from tqdm import tqdm

    with tqdm(desc="embedding", total=total, unit=" images") as bar:
        yield bar.update
