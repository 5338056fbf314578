"""`penultimate serve` with real weights, whose network ails as the file $AILMENT says.

`hang`: no run ends. `raise`: every run fails. `wrong`: other vectors come out. `die`: the next thread
that runs a batch ends, through what nothing catches. While the file is empty it is well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor import batching, server
from extractor.backbones import session
from extractor.cli import main
from extractor.results import Vector

AILMENT = Path(os.environ["AILMENT"])


class Ailing(session.Session):
    """A session whose runs ail."""

    def run(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        while AILMENT.read_text() == "hang":
            time.sleep(0.01)
        if AILMENT.read_text() == "raise":
            raise RuntimeError("injected")
        rows = super().run(pixels)
        return [row[::-1].copy() for row in rows] if AILMENT.read_text() == "wrong" else rows


class Dying(batching.Batcher[Any, Any]):
    """A batcher whose threads may end."""

    def _answer(self, batch: Any) -> None:
        if AILMENT.read_text() == "die":
            raise SystemExit
        super()._answer(batch)


if __name__ == "__main__":
    server.LAST = 1.0
    session.Session = Ailing  # type: ignore[misc]
    batching.Batcher = Dying  # type: ignore[misc]
    main()
