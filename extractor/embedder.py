"""The heart: images in, one result each out, every image through the network at most once.

The only module that knows the order of the data path: read, digest, cache,
decode, batch, network, cache. No network protocol here.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import operator
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Literal

from extractor import caches, images, sources
from extractor.backbones.bundle import Bundle
from extractor.backbones.schedule import Tuning
from extractor.batching import Ran
from extractor.caches import Cache, Row
from extractor.caches.memory import MemoryCache
from extractor.errors import DeadlineExceeded, InternalError, PenultimateError, Unavailable, drop_frames
from extractor.inflight import Admission, Flights
from extractor.network import Network, check
from extractor.pool import Pool
from extractor.results import ImageLike, Result, Timings, Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder, Limits, cores
from extractor.tickets import NO_TIME, Counters, Load, Ticket

log = logging.getLogger(__name__)

LOOKED_UP = 16
"""Images that one thread reads together: more of them would leave the other threads nothing."""


class Embedder:
    """Turns images into embeddings in this process; implements `Embeds`.

    Parameters
    ----------
    backbone : str
        An exported backbone.
    data : DataFolder or path, optional
        Where bundles and the cache lie; `DataFolder.default()` when left out.
    provider : {"auto", "cpu", "openvino", "cuda", "tensorrt"}
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}
        With "auto" any remembered vector will do that passed its golden bound;
        "fp32" passes over remembered vectors of a lower precision.
    cache : Cache, "disk" or None
        "disk" is the data folder's cache, shared with other processes.
    limits : Limits
        What one image may be.
    max_pending, max_pending_bytes : int
        How many images, and bytes of images, `submit` accepts before it
        refuses more.
    tuning : Tuning, optional
        How images become runs of the network; what was measured on this
        machine, or else the usual, when left out.

    Raises
    ------
    NotFound, DamagedFile
        When there is no good bundle of the backbone.
    InvalidArgument, Unavailable
        When what was named cannot be had here, also if all is remembered: provider, precision, profile.
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
        tuning: Tuning | None = None,
    ) -> None:
        folder = _data_folder(data)
        self.bundle = Bundle.of(folder, backbone)
        check(self.bundle, folder, provider, precision)
        self._fingerprint = self.bundle.fingerprint  # a digest, and wanted for every image
        self.limits = limits or Limits()
        self._precision = precision
        self._open = functools.partial(Network, self.bundle, folder, provider, precision, tuning or Tuning())
        self._cache = _disk_cache(folder) if cache == "disk" else cache
        self._process = os.getpid()
        self._admission = Admission(max_pending, max_pending_bytes)
        self._flights: Flights[Ticket] = Flights(self._drop)
        self._done = Counters()
        self._network: Network | None = None
        self._loading = threading.Lock()
        self._pool: Pool[Callable[[], object]] = Pool(operator.call, cores(), "decode")

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
        return self._done.computed

    @property
    def batch_size(self) -> int:
        """Images in one run of the network at most; loads the network when it is not loaded yet."""
        return self._loaded().batch_size

    @property
    def parallel(self) -> int:
        """Runs of the network at a time; loads the network when it is not loaded yet."""
        return self._loaded().parallel

    def load(self) -> Load:
        """What there is to do, and what has been done."""
        done, admission = self._done, self._admission
        return Load(
            items=admission.items,
            bytes=admission.bytes,
            oldest=admission.oldest(),
            computed=done.computed,
            failed=done.failed,
            dropped=done.dropped,
            refused=admission.refused,
            hits=done.hits,
            misses=done.misses,
            cache_failures=done.cache_failures + (self._cache.failures if self._cache else 0),
            last_inference=done.last_inference,
            alive=self._pool.alive and (self._network is None or self._network.batcher.alive),
        )

    def warm(self) -> None:
        """Load the network and prove it on the golden images.

        Raises
        ------
        InvalidArgument, Unavailable
            When the wanted provider cannot be had, or fails the golden test.
        """
        self._loaded()

    def probe(self) -> Future[None]:
        """Run a golden picture past the cache and all bounds; fails as `Network.probe`, or when closed."""
        done: Future[None] = Future()
        self._pool.put(functools.partial(self._probe, done), urgent=True)
        return done

    def _probe(self, done: Future[None]) -> None:
        try:
            self._loaded().probe()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is told, whatever it is
            done.set_exception(error)

    def submit(self, images: Sequence[ImageLike], deadline: float = math.inf) -> Sequence[Future[Result]]:
        """Begin to embed some images: all of them, or none.

        Parameters
        ----------
        images : sequence of bytes, path or PIL image
        deadline : float
            When the answers are of no use any more, by `time.monotonic`.

        Returns
        -------
        sequence of Future of Result
            What is wrong with an image is in its result, not raised. One that
            is cancelled, or late, is dropped at its next step.

        Raises
        ------
        Overloaded
            When too many images, or bytes, are pending, or so many that these
            might be late.
        """
        return self._submit(images, deadline, patient=False)

    def check_room(self, deadline: float, ahead: int) -> None:
        """Raise Overloaded when `submit` would, whatever the image, once `ahead` others are in."""
        self._admission.check(deadline, ahead)

    def _submit(
        self, images: Sequence[ImageLike], deadline: float = math.inf, *, patient: bool = False
    ) -> list[Ticket]:
        if os.getpid() != self._process:
            raise Unavailable(
                "this embedder was made before a fork, its threads are elsewhere: make a new one"
            )
        tickets = [Ticket(image, deadline) for image in images]
        self._admission.enter(tickets, deadline, patient=patient)
        if any(isinstance(image, str | os.PathLike) for image in images):
            self._expect_waiting()
        for ticket in tickets:
            ticket.add_done_callback(self._leave)
        try:
            for job, urgent in self._jobs(tickets):
                self._pool.put(job, urgent=urgent)
        except Unavailable:
            for ticket in tickets:
                ticket.cancel()
            raise
        return tickets

    def _jobs(self, tickets: Sequence[Ticket]) -> Iterator[tuple[Callable[[], object], bool]]:
        """What is in memory is looked up at once, several together; the rest is read when its turn comes."""
        here = [ticket for ticket in tickets if ticket.size]
        for begin in range(0, len(here), LOOKED_UP):
            yield functools.partial(self._begin, here[begin : begin + LOOKED_UP]), True
        for ticket in tickets:
            if not ticket.size:
                yield functools.partial(self._begin, [ticket]), False

    def _leave(self, ticket: Future[Result]) -> None:
        assert isinstance(ticket, Ticket)
        ticket.image = None
        self._admission.leave(ticket, answered=ticket.answered)

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
        window: deque[Ticket] = deque()
        room = 4 * cores() + 64
        try:
            for image in sources.several(images):
                window += self._submit([image], patient=True)
                if len(window) >= room:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for ticket in window:
                ticket.cancel()

    def close(self) -> None:
        """Finish what was submitted and release threads and files."""
        self._pool.close()
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

    def _begin(self, tickets: Sequence[Ticket]) -> None:
        """Read, digest, look up: a few images, in a thread of the pool."""
        read = [(ticket, digest) for ticket in tickets if (digest := self._read(ticket))]
        rows = self.lookup([digest for _, digest in read])
        missing = []
        for (ticket, digest), row in zip(read, rows, strict=True):
            if row is not None:
                waiting = Timings(waiting=time.monotonic() - ticket.accepted)
                ticket.settle(self._result(digest, row, cached=True), waiting)
            elif self._flights.board(digest, ticket):
                missing.append(digest)
        self._compute_all(missing)

    def _read(self, ticket: Ticket) -> bytes | None:
        """The image's digest; None for what needs no more work."""
        try:
            image = ticket.image
            if image is None or not ticket.waits():
                self._drop([ticket])
                return None
            ticket.image = data = sources.read(image, self.limits)
            return hashlib.sha256(data).digest()
        except Exception as error:  # noqa: BLE001 - one image fails alone, whatever happens
            ticket.settle(self._failed(_deliberate(error)))
            return None

    def _compute_all(self, digests: list[bytes]) -> None:
        """In their turn; where none waits for it, one of them here, without waking another thread."""
        here = digests[:1] if not self._pool.waiting else []
        for digest in digests[len(here) :]:
            try:
                self._pool.put(functools.partial(self._compute, digest))
            except Unavailable:  # it is being closed, and what was accepted is finished first
                here.append(digest)
        for digest in here:
            self._compute(digest)

    def _compute(self, digest: bytes) -> None:
        """Decode and run, for all who wait for this digest."""
        ticket = self._flights.first(digest)
        if ticket is None:
            return None
        data = ticket.image
        if not isinstance(data, bytes):  # it left just now
            return self._compute(digest)
        begun = time.monotonic()
        try:
            pixels = images.decode(data, self.bundle.manifest.preprocessing, self.limits)
        except Exception as error:  # noqa: BLE001 - as above
            return self._land(digest, self._failed(_deliberate(error), digest))
        timings = Timings(waiting=begun - ticket.accepted, decode=time.monotonic() - begun)
        try:
            network = self._loaded()
            done = functools.partial(self._finish, network.numerics, digest, timings)
            network.batcher.submit(pixels, done, lambda: self._flights.first(digest) is not None)
        except Exception as error:  # noqa: BLE001 - not this image's fault: no image can be embedded
            for ticket in self._flights.land(digest):
                ticket.fail(error)
        return None

    def _drop(self, tickets: Iterable[Ticket]) -> None:
        """Count and answer callers who have gone, or whose time has run out."""
        for ticket in tickets:
            self._done.drop()
            ticket.settle(self._failed(DeadlineExceeded("the image's turn came after the caller's deadline")))

    def _finish(
        self, numerics: str, digest: bytes, timings: Timings, outcome: Ran[Vector] | BaseException
    ) -> None:
        """Remember and answer, in the thread that ran the network."""
        if not isinstance(outcome, Ran):
            self._done.fail()
            self._land(digest, self._failed(_deliberate(outcome), digest))
            return
        outcome.output.flags.writeable = False  # the cache and all who wait share it
        self._done.compute()
        row = Row(numerics, outcome.output)
        timings = timings._replace(
            queue=outcome.queue, inference=outcome.inference, batch_size=outcome.batch_size
        )
        try:
            self._remember(digest, row)
        finally:
            self._land(digest, self._result(digest, row), timings)

    def _land(self, digest: bytes, result: Result, timings: Timings = NO_TIME) -> None:
        """Answer all who wait for this image."""
        for ticket in self._flights.land(digest):
            ticket.settle(result, timings)

    def _remember(self, digest: bytes, row: Row) -> None:
        try:
            if self._cache:
                self._cache.put_many({caches.key(self.fingerprint, digest): row})
        except Exception:  # noqa: BLE001 - a cache only ever saves time
            self._cache_failed("remember what was computed")

    def lookup(self, digests: Sequence[bytes]) -> list[Row | None]:
        """What is remembered for the images with these SHA-256 digests; None for what is not.

        Nothing is computed. A cache that fails remembers nothing.
        """
        try:
            keys = [caches.key(self._fingerprint, digest) for digest in digests]
            rows = self._cache.get_many(keys) if self._cache else [None] * len(keys)
        except Exception:  # noqa: BLE001 - a cache only ever saves time
            self._cache_failed("be read")
            rows = [None] * len(digests)
        fitting = [row if row and self._fits(row) else None for row in rows]
        self._done.recall(hits=sum(row is not None for row in fitting), of=len(fitting))
        return fitting

    def _cache_failed(self, why: str) -> None:
        """Count it, and say it with its trace once a minute, not once an image."""
        if self._done.fail_cache(why):
            log.exception("the cache cannot %s; images will be computed again", why)

    def _fits(self, row: Row) -> bool:
        exact_enough = self._precision != "fp32" or row.numerics.endswith("/fp32")
        return exact_enough and len(row.vector) == self.dim

    def _result(self, digest: bytes, row: Row, *, cached: bool = False) -> Result:
        return Result(row.vector, None, digest, cached, self._fingerprint, row.numerics)

    def _failed(self, error: PenultimateError, digest: bytes | None = None) -> Result:
        return Result(None, error, digest, False, self._fingerprint)

    def _loaded(self) -> Network:
        with self._loading:
            if self._network is None:
                self._network = self._open()
                if not self._network.computes_here:
                    self._expect_waiting()
            return self._network

    def _expect_waiting(self) -> None:
        """Have two threads a core from now on, since some wait: for files, or for a provider's own threads.

        Where none does, each image beyond one a core would only slow down those that came before it.
        """
        self._pool.grow(2 * cores())


def _deliberate(error: BaseException) -> PenultimateError:
    """The error as a result keeps it: without its frames, which hold the image's bytes."""
    if isinstance(error, PenultimateError):
        drop_frames(error)
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
