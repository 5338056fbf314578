"""The proved session with what feeds it: pixels in, vectors out, for many callers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor import images
from extractor.backbones.bundle import Bundle
from extractor.backbones.schedule import Tuning
from extractor.batching import Batcher, Direct, compute
from extractor.errors import InvalidArgument, Unavailable
from extractor.results import Vector
from extractor.settings import DataFolder

log = logging.getLogger(__name__)

Pixels: TypeAlias = NDArray[np.uint8]


class Network:
    """A bundle's network, open on a processor and proved on the golden pictures.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
        Where measurements of this machine are remembered.
    provider, precision : str
    tuning : Tuning
        As for `Embedder`.

    Attributes
    ----------
    numerics : str
        What computes, such as `cpu/fp32`.
    golden_cosine : float
        The smallest cosine of the golden test.
    batch_size, parallel : int
        Images in one run at most, and runs at a time.
    computes_here : bool
        Whether the thread that submits an image computes it, and does not wait for others that do.
    batcher : Batcher or Direct

    Raises
    ------
    InvalidArgument, Unavailable
        When the wanted provider cannot be had, or fails the golden test.
    """

    def __init__(
        self, bundle: Bundle, data: DataFolder, provider: str, precision: str, tuning: Tuning
    ) -> None:
        with _runtime():
            from extractor.backbones.tuning import open_tuned
        session, self.golden_cosine = open_tuned(bundle, data, provider, precision, tuning)
        self._bundle, self._golden = bundle, bundle.golden()[0]
        self._least_cosine = session.bound
        self.numerics = str(session.numerics)
        self.batch_size, self.parallel = session.max_batch, session.parallel
        self.computes_here = session.schedule.direct and session.numerics.provider == "cpu"
        self.batcher: Batcher[Pixels, Vector] | Direct[Pixels, Vector] = (
            Direct(session.run)
            if session.schedule.direct
            else Batcher(
                session.run, max_batch=self.batch_size, workers=self.parallel, max_delay=tuning.max_delay
            )
        )
        log.info(
            "%s runs on %s, %s, smallest golden cosine %.5f",
            bundle.manifest.backbone,
            self.numerics,
            session.schedule,
            self.golden_cosine,
        )

    def probe(self) -> None:
        """Decode and run a golden picture as any other; waits for it.

        Raises
        ------
        Unavailable
            When another vector comes out than at the start.
        Exception
            Whatever the runtime raises.
        """
        pixels = images.decode(self._golden.image, self._bundle.manifest.preprocessing.exact)
        cosine = self._golden.cosine(compute(self.batcher, pixels).output)
        if not cosine >= self._least_cosine:
            raise Unavailable(f"{self.numerics} gives a golden picture another vector: cosine {cosine:.5f}")


def check(bundle: Bundle, data: DataFolder, provider: str, precision: str) -> None:
    """Find out whether the profile, provider and precision that a user named can be had; loads no network.

    Where provider and precision are "auto", ONNX Runtime is not even imported.

    Raises
    ------
    InvalidArgument
        When provider or precision cannot; says why.
    Unavailable
        When this machine cannot decode as the bundle's profile says.
    """
    images.prepare(bundle.manifest.preprocessing)
    if (provider, precision) != ("auto", "auto"):
        with _runtime():
            from extractor.backbones.providers import wanted
        next(wanted(provider, precision, bundle, data))


@contextmanager
def _runtime() -> Iterator[None]:
    """Around imports that bring ONNX Runtime, which few images need: those that are not remembered."""
    try:
        yield
    except ImportError as error:
        raise InvalidArgument(
            f"ONNX Runtime cannot be imported ({error}): in penultimate's folder, pip install "
            "one of '.[cpu]', '.[openvino]', '.[gpu]'"
        ) from error
