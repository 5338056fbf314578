"""The limit: the work alone, decode and network, in one process that keeps every core busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import NamedTuple

from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder, cores

Work = Callable[[bytes], Vector]


class Round(NamedTuple):
    """One round: images/s, and processor milliseconds an image."""

    rate: float
    cpu: float


class Limit:
    """The work in this process.

    Parameters
    ----------
    data : DataFolder
    provider, precision : str
    photos : sequence of bytes

    Attributes
    ----------
    numerics : str
        What computes, such as `cpu/fp32`.
    threads : int
        As many as were fastest here: one a core, or two where the provider computes in threads of its own
        and ours only wait for them.
    """

    def __init__(self, data: DataFolder, provider: str, precision: str, photos: Sequence[bytes]) -> None:
        from extractor import images
        from extractor.backbones.bundle import Bundle
        from extractor.backbones.session import open_session

        bundle = Bundle.of(data, DEFAULT_BACKBONE)
        session, _ = open_session(bundle, provider, precision)
        spec = bundle.manifest.preprocessing
        self.numerics = str(session.numerics)
        self.work: Work = lambda photo: session.run([images.decode(photo, spec)])[0]
        self._photos = photos
        self.threads = cores()

    def choose(self, images: int) -> None:
        """Find the best number of threads, in turns."""
        rates = {cores(): 0.0, 2 * cores(): 0.0}
        for _ in range(3):
            for self.threads in rates:
                rates[self.threads] = max(rates[self.threads], self.round(images).rate)
        self.threads = max(rates, key=lambda number: rates[number])

    def round(self, images: int) -> Round:
        """All cores busy with so many images."""
        jobs = islice(cycle(self._photos), images)
        lock = threading.Lock()

        def run() -> None:
            while True:
                with lock:
                    photo = next(jobs, None)
                if photo is None:
                    return
                self.work(photo)

        cpu, begun = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(self.threads) as threads:
            for done in [threads.submit(run) for _ in range(self.threads)]:
                done.result()
        return Round(images / (time.perf_counter() - begun), 1e3 * (time.process_time() - cpu) / images)
