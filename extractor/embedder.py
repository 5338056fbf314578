"""The heart: images in, one result each out, every image through the network at most once.

The only module that knows the order of the data path: read, digest, cache,
decode, batch, network, cache. No network protocol here.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from extractor import caches, images, sources
from extractor.backbones.bundle import Bundle
from extractor.batching import Batcher, Direct
from extractor.caches import Cache, Row
from extractor.caches.memory import MemoryCache
from extractor.errors import InternalError, InvalidArgument, PenultimateError, Unavailable
from extractor.inflight import Admission, Flights
from extractor.results import ImageLike, Result, Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder, Limits, cores

if TYPE_CHECKING:
    from extractor.backbones.session import Session

log = logging.getLogger(__name__)


class Embedder:
    """Turns images into embeddings in this process; implements `Embeds`.

    Parameters
    ----------
    backbone : str
        An exported backbone.
    data : DataFolder or path, optional
        Where bundles and the cache lie; `DataFolder.default()` when left out.
    provider : {"auto", "cpu", "openvino", "cuda"}
    precision : {"auto", "fp32", "bf16"}
        With "auto" any remembered vector will do that passed its golden bound;
        "fp32" passes over remembered vectors of a lower precision.
    cache : Cache, "disk" or None
        "disk" is the data folder's cache, shared with other processes.
    limits : Limits
        What one image may be.
    max_pending, max_pending_bytes : int
        How many images, and bytes of images, `submit` accepts before it
        refuses more.

    Raises
    ------
    NotFound, DamagedFile
        When there is no good bundle of the backbone.
    """

    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        *,
        data: DataFolder | Path | str | None = None,
        provider: str = "auto",
        precision: str = "auto",
        cache: Cache | Literal["disk"] | None = "disk",
        limits: Limits | None = None,
        max_pending: int = 4096,
        max_pending_bytes: int = 256 * 2**20,
    ) -> None:
        folder = _data_folder(data)
        self.bundle = Bundle.of(folder, backbone)
        self._fingerprint = self.bundle.fingerprint  # a digest, and wanted for every image
        self.limits = limits or Limits()
        self._provider = provider
        self._precision = precision
        self._cache = _disk_cache(folder) if cache == "disk" else cache
        self._process = os.getpid()
        self._admission = Admission(max_pending, max_pending_bytes)
        self._flights: Flights[Result] = Flights()
        self._computed = _Counter()
        self._network: _Network | None = None
        self._loading = threading.Lock()
        # Twice the cores: where a provider computes in threads of its own, ours only wait for them.
        self._pool = ThreadPoolExecutor(2 * cores(), thread_name_prefix="decode")

    @property
    def fingerprint(self) -> str:
        """The backbone's fingerprint, in hex."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """The embedding's width."""
        return self.bundle.manifest.dim

    @property
    def numerics(self) -> str:
        """What computes, such as `cpu/fp32`; loads the network when it is not loaded yet."""
        return self._loaded().numerics

    @property
    def golden_cosine(self) -> float:
        """The smallest cosine of the golden test; loads the network when it is not loaded yet."""
        return self._loaded().golden_cosine

    @property
    def computed(self) -> int:
        """How many images really went through the network."""
        return self._computed.value

    def warm(self) -> None:
        """Load the network and prove it on the golden images.

        Raises
        ------
        InvalidArgument, Unavailable
            When the wanted provider cannot be had, or fails the golden test.
        """
        self._loaded()

    def submit(self, image: ImageLike) -> Future[Result]:
        """Begin to embed one image.

        Returns
        -------
        Future of Result
            What is wrong with the image is in the result, not raised. One that
            is cancelled is dropped at its next step.

        Raises
        ------
        Overloaded
            When too many images, or bytes, are pending.
        """
        return self._submit(image, patient=False)

    def _submit(self, image: ImageLike, *, patient: bool) -> Future[Result]:
        if os.getpid() != self._process:
            raise Unavailable(
                "this embedder was made before a fork, its threads are elsewhere: make a new one"
            )
        size = len(image) if isinstance(image, bytes | bytearray) else 0
        self._admission.enter(size, patient=patient)
        future: Future[Result] = Future()
        future.add_done_callback(lambda _: self._admission.leave(size))
        try:
            self._pool.submit(self._begin, image, future)
        except RuntimeError:
            future.cancel()
            raise Unavailable("the embedder is closed") from None
        return future

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order; see `Result`.

        Parameters
        ----------
        images : iterable of bytes, path or PIL image
        """
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """Like `embed`, lazily: a few images for each core are in memory at once.

        Raises
        ------
        InvalidArgument, Unavailable
            When the network cannot be run at all.
        """
        window: deque[Future[Result]] = deque()
        room = 4 * cores() + 64
        try:
            for image in sources.several(images):
                window.append(self._submit(image, patient=True))
                if len(window) >= room:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()

    def close(self) -> None:
        """Finish what was submitted and release threads and files."""
        self._pool.shutdown()
        if self._network:
            self._network.batcher.close()
        if self._cache:
            self._cache.close()
            self._cache = None

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, image: ImageLike, future: Future[Result]) -> None:
        """Read, digest, look up: one image, in a thread of the pool."""
        digest: bytes | None = None
        try:
            if future.cancelled():
                return
            data = sources.read(image, self.limits)
            digest = hashlib.sha256(data).digest()
            (known,) = self.lookup([digest])
        except Exception as error:  # noqa: BLE001 - one image fails alone, whatever happens
            _settle(future, self._result(digest, error=_deliberate(error)))
            return
        if known is not None:
            _settle(future, self._result(digest, embedding=known, cached=True))
        elif self._flights.board(digest, future):
            self._compute(data, digest)

    def _compute(self, data: bytes, digest: bytes) -> None:
        """Decode and run, for all who wait for this digest."""
        if not self._flights.wanted(digest):
            return
        try:
            pixels = images.decode(data, self.bundle.manifest.preprocessing, self.limits)
        except Exception as error:  # noqa: BLE001 - as above
            self._answer(digest, error=_deliberate(error))
            return
        try:
            network = self._loaded()
            inner = network.batcher.submit(pixels, wanted=lambda: self._flights.wanted(digest))
        except Exception as error:  # noqa: BLE001 - not this image's fault: no image can be embedded
            for future in self._flights.land(digest):
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            return
        inner.add_done_callback(lambda done: self._finish(done, network.numerics, digest))

    def _finish(self, done: Future[Vector], numerics: str, digest: bytes) -> None:
        """Remember and answer, in the thread that ran the network."""
        if done.cancelled():  # nobody waits
            return
        error = done.exception()
        if error is not None:
            self._answer(digest, error=_deliberate(error))
            return
        vector = done.result()
        vector.flags.writeable = False  # the cache and all who wait share it
        self._computed.add()
        try:
            self._remember(digest, Row(numerics, vector))
        finally:
            self._answer(digest, embedding=vector)

    def _remember(self, digest: bytes, row: Row) -> None:
        try:
            if self._cache:
                self._cache.put_many({caches.key(self.fingerprint, digest): row})
        except Exception:
            log.exception("the cache failed; the image will be computed again")

    def _answer(
        self, digest: bytes, *, embedding: Vector | None = None, error: PenultimateError | None = None
    ) -> None:
        result = self._result(digest, embedding=embedding, error=error)
        for future in self._flights.land(digest):
            _settle(future, result)

    def lookup(self, digests: Sequence[bytes]) -> list[Vector | None]:
        """What is remembered for the images with these SHA-256 digests; None for what is not.

        Nothing is computed. A cache that fails remembers nothing.
        """
        try:
            keys = [caches.key(self.fingerprint, digest) for digest in digests]
            rows = self._cache.get_many(keys) if self._cache else [None] * len(keys)
        except Exception:
            log.exception("the cache failed; images will be computed again")
            return [None] * len(digests)
        return [row.vector if row and self._fits(row) else None for row in rows]

    def _fits(self, row: Row) -> bool:
        exact_enough = self._precision != "fp32" or row.numerics.endswith("/fp32")
        return exact_enough and len(row.vector) == self.dim

    def _result(
        self,
        digest: bytes | None,
        *,
        embedding: Vector | None = None,
        error: PenultimateError | None = None,
        cached: bool = False,
    ) -> Result:
        return Result(embedding, error, digest, cached, self.fingerprint)

    def _loaded(self) -> _Network:
        with self._loading:
            if self._network is None:
                self._network = _Network(self.bundle, self._provider, self._precision)
            return self._network


class _Network:
    """The proved session and the batcher in front of it."""

    def __init__(self, bundle: Bundle, provider: str, precision: str) -> None:
        open_session = _runtime()
        session, self.golden_cosine = open_session(bundle, provider, precision)
        self.numerics = str(session.numerics)
        self.batcher: Batcher[NDArray[np.uint8], Vector] | Direct[NDArray[np.uint8], Vector] = (
            Batcher(session.run, max_batch=session.max_batch, workers=session.parallel)
            if session.max_batch > 1
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


class _Counter:
    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.value += 1


def _settle(future: Future[Result], result: Result) -> None:
    """Answer, unless the caller has gone."""
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _deliberate(error: BaseException) -> PenultimateError:
    if isinstance(error, PenultimateError):
        return error
    log.error("an image failed through our own fault", exc_info=error)
    return InternalError(f"an internal error ({type(error).__name__}); the log has the details")


def _data_folder(data: DataFolder | Path | str | None) -> DataFolder:
    if isinstance(data, DataFolder):
        return data
    return DataFolder(Path(data)) if data else DataFolder.default()


def _disk_cache(folder: DataFolder) -> Cache:
    from extractor.caches.lmdb import LmdbCache

    try:
        return LmdbCache(folder.cache)
    except Unavailable as error:
        log.warning("%s; vectors are remembered only while this process runs", error)
        return MemoryCache()
