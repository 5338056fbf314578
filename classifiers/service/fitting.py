"""One fit: images come, the head is fitted in a thread of its own, and the caller hears how far it is."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, get_args

from classifiers.data.splits import check_test_size
from classifiers.service.describing import describe
from classifiers.service.gathering import Gathering
from classifiers.service.local_files import with_local_names
from classifiers.store.versions import head_path
from classifiers.training.recipes import Kind, Recipe, Scale
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls
from extractor.errors import InvalidArgument, Overloaded
from extractor.heads_wire import messages as wire
from extractor.heads_wire.values import FitOptions, Fitted, LeftOut, Stage
from extractor.settings import DataFolder
from extractor.submission import Submits

if TYPE_CHECKING:
    from classifiers.data.features import Features
    from classifiers.report import Report
    from classifiers.store.publishing import Published
    from classifiers.training.train import Training

FITS_AT_ONCE = 1
"""A fit keeps the cores busy that images are embedded on."""

NICENESS = 10
"""Of a fit's threads: what is asked meanwhile comes first."""

READY = "ready for the images"
"""The first word: callers may wait for it before they send anything large."""

SAID_EVERY = 0.5
"""Seconds between two words on the images that have come."""


class _LeftError(Exception):
    """The caller has gone."""


class Fits:
    """The fits of one server, of which few are under way.

    Parameters
    ----------
    data : DataFolder
    embedder : Embedder
    calls : Calls
    """

    def __init__(self, data: DataFolder, embedder: Submits, calls: Calls) -> None:
        self._data, self._embedder, self._calls = data, embedder, calls
        self._slots = threading.BoundedSemaphore(FITS_AT_ONCE)

    async def fit(self, requests: AsyncIterator[pb.FitRequest], call: Call) -> AsyncGenerator[pb.FitProgress]:
        """Answer one call of `Fit`.

        Raises
        ------
        InvalidArgument
            When the options or the labelled images cannot be used.
        Overloaded
            When others are fitting.
        """
        begun, first = time.monotonic(), await anext(requests, None)
        options, recipe = _checked(first, self._data)
        if not self._slots.acquire(blocking=False):
            raise Overloaded("another head is being fitted, and one is at a time", retry_after=5.0)
        work = _Work(self._slots)
        try:
            yield wire.pack_stage(Stage(READY, 0, time.monotonic() - begun))
            gathering, said = Gathering(options, self._embedder, call), 0.0
            assert first
            async with aclosing(gathering.take(requests, first)) as counts:
                async for count in counts:
                    if time.monotonic() - said > SAID_EVERY:
                        said = time.monotonic()
                        yield wire.pack_stage(Stage("embedding", count, said - begun))
            self._calls.accept(call, 0)

            def whole(note: Callable[[str], None]) -> Fitted:
                return _fit(options, recipe, gathering, self._data, note)

            async for line in work.lines(whole):
                yield wire.pack_stage(Stage(line, len(gathering), time.monotonic() - begun))
            yield wire.pack_fitted(work.result())
        finally:
            work.leave()


class _Work:
    """One piece of work in a thread that no exit waits for; its slot is free when the thread is done.

    Parameters
    ----------
    slots : semaphore
        Of which this work has one.
    """

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots = slots
        self._left = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: Fitted | None = None
        self._error: BaseException | None = None

    async def lines(self, work: Callable[[Callable[[str], None]], Fitted]) -> AsyncIterator[str]:
        """Begin; what is said of it, until it is done."""
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[str | None] = asyncio.Queue()

        def tell(line: str | None) -> None:
            try:
                loop.call_soon_threadsafe(said.put_nowait, line)
            except RuntimeError:  # the loop is closed: the process ends
                self._left.set()

        def note(line: str) -> None:
            if self._left.is_set():
                raise _LeftError
            tell(line)

        def run() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            try:
                self._result = work(note)
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                self._error = error
            finally:
                self._slots.release()
                tell(None)

        self._thread = threading.Thread(target=run, name="fit", daemon=True)
        self._thread.start()
        while (line := await said.get()) is not None:
            yield line

    def result(self) -> Fitted:
        """What came of it; raises what it raised."""
        if self._error:
            raise self._error
        assert self._result
        return self._result

    def leave(self) -> None:
        """Nobody waits for it any more: it ends at its next word, and its slot is free then."""
        self._left.set()
        if self._thread is None:
            self._slots.release()


def _fit(
    options: FitOptions,
    recipe: Recipe,
    gathering: Gathering,
    data: DataFolder,
    note: Callable[[str], None],
) -> Fitted:
    """Fit, test and publish; blocks."""
    from classifiers.store.publishing import publish
    from classifiers.training.train import train

    seconds = {"embed": gathering.seconds}
    features = _gathered(options, gathering, data, note, seconds)
    note(f"fitting on {len(features.y)} images: settings by cross-validation …")
    fit = partial(train, options.name, features, backbone=gathering.backbone, recipe=recipe)
    training = fit(test_size=options.test_size, note=note, stage=note, tried=note)
    training = replace(training, seconds=seconds | training.seconds)
    made = None if options.no_report else _report(training, data, note)
    note("writing the head")  # the last word: from here on it is finished, whoever has left
    files = made.files() if made else None
    published = publish(training, data, promote=options.promote, files=files)
    return _fitted(training, published, made, data)


def _gathered(
    options: FitOptions,
    gathering: Gathering,
    data: DataFolder,
    note: Callable[[str], None],
    seconds: dict[str, float],
) -> Features:
    """What is fitted on; near duplicates in one group, so that none is fitted on and its like tested on."""
    from classifiers.data.duplicates import grouped

    begun = time.monotonic()
    if options.collection:
        note(f"reading the collection {options.collection}")
        gathering.add_collection(options.collection, data)
    note(f"looking for near duplicates among {len(gathering)} images")
    features = grouped(gathering.features())
    seconds["duplicates"] = round(time.monotonic() - begun, 3)
    return features


def _report(training: Training, data: DataFolder, note: Callable[[str], None]) -> Report | None:
    from classifiers.reporting import make_report

    note("making the report")
    return make_report(with_local_names(training), data, note=note)


def _fitted(training: Training, published: Published, made: Report | None, data: DataFolder) -> Fitted:
    folder = published.saved.path
    return Fitted(
        head=describe(published.name, data, published.saved.version),
        version=published.saved.version,
        left_out=[LeftOut(each.image, each.reason) for each in training.rejected],
        against_serving="\n".join(published.lines()),
        seconds=training.seconds | ({"report": made.seconds} if made else {}),
        folder=str(folder.relative_to(data.heads.parent)),
        files=sorted(file.name for file in folder.iterdir()),
    )


def _checked(first: pb.FitRequest | None, data: DataFolder) -> tuple[FitOptions, Recipe]:
    """What is to be fitted; raises InvalidArgument before anything is embedded where that cannot be."""
    if first is None or not first.HasField("options"):
        raise InvalidArgument("the first request of a fit says what is to be fitted: set `options`")
    options = wire.unpack_options(first.options)
    head_path(options.name, data)
    check_test_size(options.test_size)
    for what, value, allowed in (("kind", options.kind, Kind), ("scale", options.scale, Scale)):
        if value not in get_args(allowed):
            raise InvalidArgument(
                f"{value!r} is no {what} of a head: choose {' or '.join(get_args(allowed))}"
            )
    if options.balanced and options.class_weight:
        raise InvalidArgument("`balanced` says what each class counts, and so does `class_weight`: give one")
    weights = "balanced" if options.balanced else dict(options.class_weight) or None
    return options, Recipe(options.kind, options.scale, options.seed, weights)  # type: ignore[arg-type]
