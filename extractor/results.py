"""What embedding one image gives, and what anything that embeds looks like."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.errors import PenultimateError

if TYPE_CHECKING:
    from PIL.Image import Image

Vector: TypeAlias = NDArray[np.float32]
ImageLike: TypeAlias = "bytes | str | os.PathLike[str] | Image"


class Timings(NamedTuple):
    """Where the time of one image went, in seconds; zero for what it did not meet.

    Attributes
    ----------
    waiting : float
        For a thread, and its digest and the cache.
    decode : float
        From bytes to pixels at the network's input size.
    queue : float
        Waiting for a batch.
    inference : float
        The batch's run.
    total : float
        From being accepted to being answered.
    batch_size : int
        Images in the batch.
    """

    waiting: float = 0.0
    decode: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    total: float = 0.0
    batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one image: a vector or an error, never both.

    Attributes
    ----------
    embedding : float32 array of shape (dim,), or None
        The backbone's plain output, not normalised.
    error : PenultimateError or None
        Why there is no embedding.
    digest : bytes or None
        SHA-256 of the image file's bytes; None when they could not be read.
    cached : bool
        True when the vector was remembered, not computed.
    fingerprint : str
        The backbone that made the vector, in hex.
    numerics : str
        What computed the vector, such as `cpu/fp32`; empty without a vector.
    timings : Timings or None
        Where the time went, as the embedder that answered measured it.
    """

    embedding: Vector | None
    error: PenultimateError | None
    digest: bytes | None
    cached: bool
    fingerprint: str
    numerics: str = ""
    timings: Timings | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an embedding."""
        return self.embedding is not None

    def timed(self, timings: Timings) -> Result:
        """The same with other timings; several times as fast as `dataclasses.replace`."""
        return Result(
            self.embedding,
            self.error,
            self.digest,
            self.cached,
            self.fingerprint,
            self.numerics,
            timings,
        )


class Embeds(Protocol):
    """Anything that turns images into embeddings: `Embedder` here, `Client` over the wire."""

    @property
    def fingerprint(self) -> str:
        """The backbone's fingerprint, in hex."""
        ...

    @property
    def dim(self) -> int:
        """The embedding's width."""
        ...

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order."""
        ...

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """Like `embed`, but lazily, with a bounded number of images in memory."""
        ...

    def close(self) -> None:
        """Release threads, files and connections."""
        ...
