"""Images that the server remembers, over images computed; part of `benchmarks.service`."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from benchmarks.callers import Target
from benchmarks.load import Load
from benchmarks.servers import METHOD, Served, ours
from extractor.settings import DataFolder

CHANNEL_OPTIONS = (("grpc.max_receive_message_length", 2**26), ("grpc.enable_retries", 0))
REQUEST_IMAGES = 16
REQUESTS_UNDER_WAY = 8
MUST_REACH = {"sent in Embed": "10 x computed", "Client.stream": "20,000/s", "digests alone": "20,000/s"}


def measure(found: report.Report, load: Load, given: argparse.Namespace) -> None:
    with remembering(given) as server:
        rates: dict[str, float] = load.run(_rates, server.target)
    found.table(
        "remembered",
        [
            {
                "way": way,
                "images/s": rate,
                "of computed": rate / rates["computed"],
                "must reach": MUST_REACH.get(way),
            }
            for way, rate in rates.items()
        ],
    )


@contextmanager
def remembering(given: argparse.Namespace) -> Iterator[Served]:
    """A server that begins with an empty cache, and keeps it."""
    with TemporaryDirectory() as folder:
        data = DataFolder(Path(folder))
        data.backbones.symlink_to(given.data.backbones.resolve())
        with ours(data, given.provider, given.precision, cache=True) as server:
            yield server


def upload(target: Target, images: Iterable[bytes]) -> int:
    """Send images in `Embed` without asking for digests first; how many the server remembered.

    Several in a request and several requests under way, as our client does it.
    """
    import grpc

    from extractor._pb.penultimate.v1 import penultimate_pb2 as pb

    with (
        grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS) as channel,
        ThreadPoolExecutor(REQUESTS_UNDER_WAY) as threads,
    ):
        method: Any = channel.unary_unary(METHOD)

        def send(pack: list[bytes]) -> int:
            request = pb.EmbedRequest(images=pack).SerializeToString()
            answer = method(request, metadata=(("penultimate-request-bytes", str(len(request))),))
            results = pb.EmbedResponse.FromString(answer).results
            if not all(result.embedding for result in results):
                raise RuntimeError("an image failed")
            return sum(result.cached for result in results)

        return sum(threads.map(send, _packs(images)))


def _packs(images: Iterable[bytes]) -> Iterator[list[bytes]]:
    source = iter(images)
    while pack := list(islice(source, REQUEST_IMAGES)):
        yield pack


# What follows runs in the load's process.
def _rates(photos: Sequence[bytes], target: Target) -> dict[str, float]:
    """Images/s."""
    from extractor.client import Client

    begun = time.perf_counter()
    upload(target, photos)
    computed = len(photos) / (time.perf_counter() - begun)
    many = list(islice(cycle(photos), 20 * len(photos)))
    digests = [hashlib.sha256(photo).digest() for photo in photos] * 50
    with Client(target.address) as client:
        client.embed(many[: 4 * len(photos)])  # the client learns that it pays to ask
        begun = time.perf_counter()
        cached = upload(target, many)
        uploaded = time.perf_counter()
        streamed = sum(result.cached for result in client.stream(many))
        asked = time.perf_counter()
        found = client.lookup(digests)
        looked = time.perf_counter()
    if not (cached == streamed == len(many) and all(vector is not None for vector in found)):
        raise RuntimeError("the server forgot some images")
    return {
        "computed": computed,
        "sent in Embed": len(many) / (uploaded - begun),
        "Client.stream": len(many) / (asked - uploaded),
        "digests alone": len(digests) / (looked - asked),
    }
