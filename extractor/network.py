"""The proved session with what feeds it: pixels in, vectors out, for many callers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.backbones.bundle import Bundle
from extractor.batching import Batcher, Direct
from extractor.errors import InvalidArgument
from extractor.results import Vector

if TYPE_CHECKING:
    from extractor.backbones.session import Session

log = logging.getLogger(__name__)

Pixels: TypeAlias = NDArray[np.uint8]


class Network:
    """A bundle's network, open on a processor and proved on the golden pictures.

    Parameters
    ----------
    bundle : Bundle
    provider, precision : str
        As for `Embedder`.

    Attributes
    ----------
    numerics : str
        What computes, such as `cpu/fp32`.
    golden_cosine : float
        The smallest cosine of the golden test.
    batch_size, parallel : int
        Images in one run at most, and runs at a time.
    batcher : Batcher or Direct

    Raises
    ------
    InvalidArgument, Unavailable
        When the wanted provider cannot be had, or fails the golden test.
    """

    def __init__(self, bundle: Bundle, provider: str, precision: str) -> None:
        session, self.golden_cosine = _runtime()(bundle, provider, precision)
        self.numerics = str(session.numerics)
        self.batch_size, self.parallel = session.max_batch, session.parallel
        self.batcher: Batcher[Pixels, Vector] | Direct[Pixels, Vector] = (
            Batcher(session.run, max_batch=self.batch_size, workers=self.parallel)
            if self.batch_size > 1
            else Direct(session.run)
        )
        log.info(
            "%s runs on %s, smallest golden cosine %.5f",
            bundle.manifest.backbone,
            self.numerics,
            self.golden_cosine,
        )


def _runtime() -> Callable[[Bundle, str, str], tuple[Session, float]]:
    """What opens a session; imported here, since only an image that is not remembered needs it."""
    try:
        from extractor.backbones.session import open_session
    except ImportError as error:
        raise InvalidArgument(
            f"ONNX Runtime cannot be imported ({error}): in penultimate's folder, pip install "
            "one of '.[cpu]', '.[openvino]', '.[gpu]'"
        ) from error
    return open_session
