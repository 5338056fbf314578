"""`penultimate serve` with real weights and batches of eight, whose network fails for a black picture.

The whole run fails then, as when a processor's memory is full: nobody is told which picture it was.
For a white picture the network stands still until the process has had SIGUSR1 once.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor.backbones import session
from extractor.cli import main
from extractor.results import Vector

BATCH = 8
SIGNALS: SimpleQueue[int] = SimpleQueue()  # its `put` may be interrupted by itself, as a handler can be


class Faulty(session.Session):
    """Takes batches on any processor; the network behind it gets what it is used to."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sound = super().run
        self._network_batch, self.max_batch, self.parallel = self.max_batch, BATCH, 1

    def run(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        if any(not picture.any() for picture in pixels):
            raise RuntimeError(f"injected into a run of {len(pixels)}")
        if any(picture.min() == 255 for picture in pixels):
            self._stand_still()
        step = self._network_batch
        parts = (pixels[start : start + step] for start in range(0, len(pixels), step))
        return [row for part in parts for row in self._sound(part)]

    @functools.cache  # noqa: B019 - there is one session, and one signal for it
    def _stand_still(self) -> None:
        SIGNALS.get()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda number, _: SIGNALS.put(number))
    session.Session = Faulty  # type: ignore[misc]
    main()
