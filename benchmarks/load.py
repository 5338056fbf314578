"""The load, from a process of its own: closed loops, and open ones with Poisson arrivals."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import uvloop

from benchmarks.callers import Caller, Failed, Refused, Target, caller

R = TypeVar("R")

OPEN_CONNECTIONS = 8
"""Connections of an open loop over gRPC: its callers would not share one."""


class Closed(NamedTuple):
    """A closed loop: images/s, this process's processor seconds, and each call's seconds."""

    rate: float
    cpu: float
    seconds: list[float]


@dataclass
class Open:
    """An open loop.

    Attributes
    ----------
    seconds : list of float
        From when each answered request was due to its answer.
    rate : float
        Answers in time per second, those of the first second and after the last arrival left out.
    outcomes : Counter
        "answered", "refused", "late", "failed".
    lag : float
        Seconds by which the worst hundredth of requests were sent later than they were due.
    cores : float
        Processor cores that the load itself kept busy.
    failure : str
        What one of the failed said.
    after : float
        Seconds that one new request took, once all callers were gone.
    """

    seconds: list[float] = field(default_factory=list)
    rate: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    lag: float = 0.0
    cores: float = 0.0
    failure: str = ""
    after: float = 0.0

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent)) if self.seconds else float("nan")


class Load:
    """The process that sends photos."""

    def __init__(self, photos: Sequence[bytes]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.process = ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=(photos,))

    def run(self, function: Callable[..., R], *arguments: Any) -> R:
        """What the function returns there for the photos and these arguments."""
        return self.process.submit(_run, function, arguments).result()

    def wait_for(self, target: Target, seconds: float = 90) -> None:
        """Until the server answers."""
        self.process.submit(_wait_for, target, seconds).result()

    def vectors(self, target: Target, number: int) -> list[bytes]:
        """The vectors of the first photos."""
        return self.process.submit(_vectors, target, number).result()

    def idle(self, target: Target) -> None:
        """Wait until the server has nothing else to do: one request is answered in a tenth of a second."""
        self.process.submit(_idle, target).result()

    def closed(self, target: Target, images: int, in_flight: int = 16) -> Closed:
        """Always `in_flight` requests of one image; each caller waits for its answer."""
        return self.process.submit(_closed, target, images, in_flight).result()

    def own_client(self, target: Target, images: int) -> Closed:
        """`Client.stream`, as users call it."""
        return self.process.submit(_own_client, target, images).result()

    def open(self, target: Target, rate: float, seconds: float, deadline: float | None, seed: int) -> Open:
        """Requests that come at random, `rate` a second, whether others are answered or not."""
        return self.process.submit(_open, target, rate, seconds, deadline, seed).result()

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.shutdown()


# What follows runs in the load's process.
_photos: Sequence[bytes]
_runner: asyncio.Runner


def _begin(photos: Sequence[bytes]) -> None:
    global _photos, _runner
    _photos, _runner = photos, asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _run(function: Callable[..., R], arguments: tuple[Any, ...]) -> R:
    return function(_photos, *arguments)


def _wait_for(target: Target, seconds: float) -> None:
    async def ask() -> None:
        end = time.monotonic() + seconds
        while True:
            sender = caller(target, _photos[:1], 1)
            try:
                await sender.call(0, seconds)
                return
            except (Failed, Refused, TimeoutError):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)
            finally:
                await sender.close()

    _runner.run(ask())


def _idle(target: Target) -> None:
    async def ask() -> None:
        sender = caller(target, _photos[:1], 1)
        end = time.monotonic() + 60
        while await _after(sender) > 0.1:
            if time.monotonic() > end:
                raise TimeoutError(f"{target.address} is still busy a minute after the last request")
            await asyncio.sleep(0.1)
        await sender.close()

    _runner.run(ask())


def _vectors(target: Target, number: int) -> list[bytes]:
    async def ask() -> list[bytes]:
        sender = caller(target, _photos, 1)
        try:
            return [await sender.call(index, None) for index in range(number)]
        finally:
            await sender.close()

    return _runner.run(ask())


def _closed(target: Target, images: int, in_flight: int) -> Closed:
    async def run() -> Closed:
        sender = caller(target, _photos, 1)
        seconds: list[float] = []
        cpu, begun = time.process_time(), time.perf_counter()
        numbers = iter(range(images))
        await asyncio.gather(*(_in_turn(sender, numbers, seconds) for _ in range(in_flight)))
        took = time.perf_counter() - begun
        cost = time.process_time() - cpu
        await sender.close()
        return Closed(images / took, cost, seconds)

    return _runner.run(run())


async def _in_turn(sender: Caller, numbers: Iterator[int], seconds: list[float]) -> None:
    for number in numbers:
        begun = time.perf_counter()
        await sender.call(number, None)
        seconds.append(time.perf_counter() - begun)


def _own_client(target: Target, images: int) -> Closed:
    from extractor.client import Client

    with Client(target.address) as client:
        client.info()
        cpu, begun = time.process_time(), time.perf_counter()
        done = sum(result.ok for result in client.stream(islice(cycle(_photos), images)))
        took = time.perf_counter() - begun
    if done != images:
        raise RuntimeError(f"{images - done} of {images} images failed")
    return Closed(images / took, time.process_time() - cpu, [])


def _open(target: Target, rate: float, seconds: float, deadline: float | None, seed: int) -> Open:
    async def run() -> Open:
        sender = caller(target, _photos, OPEN_CONNECTIONS)
        await asyncio.gather(*(sender.call(number, 60) for number in range(OPEN_CONNECTIONS)))
        found = await _Arrivals(sender, deadline).run(list(_poisson(rate, seconds, seed)), seconds)
        found.after = await _after(sender)
        await sender.close()
        return found

    return _runner.run(run())


def _poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    draw, at = random.Random(seed), 0.0
    while (at := at + draw.expovariate(rate)) < seconds:
        yield at


async def _after(sender: Caller) -> float:
    """Seconds of one new request; none at all when it fails."""
    begun = time.perf_counter()
    try:
        await sender.call(0, 60)
    except (Failed, Refused, TimeoutError):
        return float("inf")
    return time.perf_counter() - begun


class _Arrivals:
    """Sends each request when it is due, and notes what becomes of it."""

    def __init__(self, sender: Caller, deadline: float | None) -> None:
        self._sender = sender
        self._deadline = deadline
        self._found = Open()
        self._lags: list[float] = []
        self._answered: list[float] = []

    async def run(self, due: list[float], seconds: float) -> Open:
        cpu, begun = time.process_time(), time.perf_counter() + 0.01
        async with asyncio.TaskGroup() as group:
            for number, at in enumerate(due):
                if (early := begun + at - time.perf_counter()) > 0:
                    await asyncio.sleep(math.ceil(1000 * early) / 1000)  # uvloop rounds, also down
                group.create_task(self._one(number, begun + at))
        took = time.perf_counter() - begun
        found = self._found
        found.cores = (time.process_time() - cpu) / took
        found.lag = float(np.percentile(self._lags, 99))
        window = (begun + min(1.0, seconds / 2), begun + seconds)
        counted = sum(window[0] <= at < window[1] for at in self._answered)
        found.rate = counted / (window[1] - window[0])
        return found

    async def _one(self, number: int, due: float) -> None:
        now = time.perf_counter()
        self._lags.append(now - due)
        left = None if self._deadline is None else due + self._deadline - now
        self._found.outcomes[await self._outcome(number, due, left)] += 1

    async def _outcome(self, number: int, due: float, left: float | None) -> str:
        try:
            if left is not None and left <= 0:
                raise TimeoutError
            await self._sender.call(number, left)
        except TimeoutError:
            return "late"
        except Refused:
            return "refused"
        except Failed as failure:
            self._found.failure = str(failure)
            return "failed"
        now = time.perf_counter()
        self._answered.append(now)
        self._found.seconds.append(now - due)
        return "answered"
