"""What one caller, or many collections, may take of a server of collections."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor._pb.penultimate.v1.collections_pb2_grpc import CollectionsStub
from extractor.collections import Collection, Item
from extractor.collections_service import reading, shelf
from extractor.collections_service.occupied import Occupied
from extractor.server import Server
from extractor.settings import DataFolder, ServiceLimits
from tests.service.conftest import StandIn
from tests.service.test_collections import adding, by_vector, embed_numbers, example, failing, found, query

LIMITS = ServiceLimits(items_per_call=64, message_bytes=8 * 2**20)
LARGE = "x" * 60_000
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest_asyncio.fixture
async def server(stand_in: StandIn, data: DataFolder) -> AsyncIterator[Server]:
    embed_numbers(stand_in)
    server = Server(stand_in, "127.0.0.1:0", collections=data, limits=LIMITS)
    await server.start()
    await server.warm()
    yield server
    await server.stop(grace=1)


@pytest_asyncio.fixture
async def stub(server: Server) -> AsyncIterator[CollectionsStub]:
    unlimited = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(server.address, unlimited) as channel:
        yield CollectionsStub(channel)


@pytest_asyncio.fixture
async def heavy(stub: CollectionsStub, data: DataFolder) -> CollectionsStub:
    """With a collection whose items have much metadata: in all, more than a message may have."""
    await stub.CreateCollection(pb.CreateCollectionRequest(name="heavy"))
    vector = np.ones(3, np.float32)
    with Collection.open(data, "heavy") as collection:
        collection.add(Item(f"i{number}", vector, metadata={"text": LARGE}) for number in range(200))
    return stub


async def test_a_page_ends_where_it_would_be_too_large(heavy: CollectionsStub) -> None:
    """Whatever is asked for; together the pages have everything, once."""
    listed: list[str] = []
    request = pb.ListItemsRequest(collection="heavy", page_size=64)
    while not listed or request.page_token:
        page = await heavy.ListItems(request)
        assert page.ByteSize() < reading.PAGE_BYTES + 2 * len(LARGE)
        listed += [item.id for item in page.items]
        request.page_token = page.next_page_token
    assert listed == [f"i{number}" for number in range(200)]


async def test_the_last_page_may_be_full(heavy: CollectionsStub) -> None:
    """There is no empty one after it."""
    request = pb.ListItemsRequest(collection="heavy", filter="id in ('i3', 'i5')", page_size=2)
    page = await heavy.ListItems(request)
    assert [item.id for item in page.items] == ["i3", "i5"]
    assert not page.next_page_token


async def test_an_answer_that_would_be_too_large_is_refused(heavy: CollectionsStub) -> None:
    """With what to do about it, before it is there; without what makes it large it comes."""
    wanted = [query((1, 1, 1))] * 3
    failure = await failing(
        heavy.Search(pb.SearchRequest(collection="heavy", queries=wanted, k=64, attributes=True)), INVALID
    )
    assert "too large for a message" in failure.details()
    assert [len(ids) for ids in await found(heavy, *wanted, name="heavy", k=64)] == [64] * 3
    few = await heavy.Search(pb.SearchRequest(collection="heavy", queries=wanted, k=9, attributes=True))
    assert all(LARGE in match.metadata for result in few.results for match in result.matches)
    many = pb.GetItemsRequest(collection="heavy", ids=["i0"] * 64)
    assert len((await heavy.GetItems(many)).results) == 64


async def test_items_that_do_not_fit_into_an_answer_are_refused(data: DataFolder, heavy: Any) -> None:
    """As those with large thumbnails."""
    with Collection.open(data, "heavy") as collection:
        collection.add([Item("wide", np.ones(3, np.float32), thumbnail=bytes(250_000))])
    wide = pb.GetItemsRequest(collection="heavy", ids=["wide"] * 64, thumbnails=True)
    failure = await failing(heavy.GetItems(wide), INVALID)
    assert "ask for fewer" in failure.details()
    del wide.ids[16:]
    assert len((await heavy.GetItems(wide)).results) == 16


async def test_of_very_many_labels_the_frequent_ones_are_counted(
    stub: CollectionsStub, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection where each item has a label of its own can still be described."""
    monkeypatch.setattr(reading, "MOST_LABELS", 2)
    await stub.CreateCollection(pb.CreateCollectionRequest(name="named"))
    labels = ["rare", "often", "often", "often", "twice", "twice", "alone"]
    items = [by_vector(f"i{place}", 1, 2, 3, label=label) for place, label in enumerate(labels)]
    await stub.Add(adding("named", *items))
    info = await stub.GetCollection(pb.GetCollectionRequest(name="named"))
    assert dict(info.labels) == {"often": 3, "twice": 2}


async def test_examples_count_as_items_of_a_call(heavy: CollectionsStub, stand_in: StandIn) -> None:
    """However many of them are in one query; no image is embedded."""
    images = [example(bytes([1, number, 0])) for number in range(65)]
    request = pb.SearchRequest(collection="heavy", queries=[pb.Query(like=images[:1], unlike=images[1:])])
    assert "65 items and may have 64" in (await failing(heavy.Search(request), INVALID)).details()
    assert not stand_in.submitted


@pytest.mark.parametrize("number", [1e-45, 3e38])
async def test_a_query_of_no_direction_fails_alone(heavy: CollectionsStub, number: float) -> None:
    """Also where its numbers are neither zero nor infinite."""
    answer = await heavy.Search(
        pb.SearchRequest(collection="heavy", queries=[query((1, 1, 1)), query((number, number, number))])
    )
    assert len(answer.results[0].matches) == 10


async def test_what_means_nothing_is_refused(heavy: CollectionsStub) -> None:
    """A smallest score that is no number; a way with ids that are there of a later contract."""
    request = pb.SearchRequest(collection="heavy", queries=[query((1, 1, 1))], min_score=float("nan"))
    assert "min_score" in (await failing(heavy.Search(request), INVALID)).details()
    later = adding("heavy", by_vector("i0", 1, 0, 0))
    later.if_exists = 7
    assert "if_exists is 7" in (await failing(heavy.Add(later), INVALID)).details()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"fingerprint": "ü\n", "dim": 3, "backbone": "b"}, "visible ASCII"),
        ({"fingerprint": "ab", "dim": 3, "backbone": "b" * 201}, "visible ASCII"),
        ({"fingerprint": "ab", "dim": 2**16 + 1, "backbone": "b"}, "65,537"),
    ],
)
async def test_a_backbone_that_cannot_be_named_is_refused(stub: Any, facts: Any, words: str) -> None:
    """Its fingerprint has to go into a header."""
    request = pb.CreateCollectionRequest(name="odd", **facts)
    assert words in (await failing(stub.CreateCollection(request), INVALID)).details()


def open_stores() -> int:
    """Collection files that this process has open."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    targets = (os.readlink(link) for link in links if link.is_symlink())  # noqa: PTH115
    return len({target for target in targets if target.endswith("items.sqlite")})


async def test_of_many_collections_few_stay_open(
    stub: CollectionsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were asked for last; the others are opened again when they are asked for."""
    monkeypatch.setattr(shelf, "MOST_OPEN", 4)
    names = [f"c{number}" for number in range(20)]
    for number, name in enumerate(names):
        await stub.CreateCollection(pb.CreateCollectionRequest(name=name))
        await stub.Add(adding(name, by_vector("one", 1, number, 0)))
    async with asyncio.timeout(10):
        while open_stores() > 4:
            await asyncio.sleep(0.01)  # what was retired is closed in a thread
    for name in names:
        assert await found(stub, query((1, 0, 0)), name=name) == [["one"]]


async def test_more_collections_than_stay_open_can_be_used_at_once(
    stub: CollectionsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is closed under a call."""
    monkeypatch.setattr(shelf, "MOST_OPEN", 2)
    names = [f"c{number}" for number in range(8)]
    for name in names:
        await stub.CreateCollection(pb.CreateCollectionRequest(name=name))

    async def fill(name: str) -> None:
        for number in range(20):
            answer = await stub.Add(adding(name, by_vector(f"i{number}", 1, number, 0)))
            assert not answer.results[0].HasField("error")

    await asyncio.gather(*map(fill, names))
    for name in names:
        assert (await stub.GetCollection(pb.GetCollectionRequest(name=name))).count == 20


async def test_a_stop_waits_for_a_write_that_has_begun_and_closes_what_is_open(
    stand_in: StandIn, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its caller has been sent away; afterwards no log lies beside the collection's file."""
    begun, add = threading.Event(), Collection.add

    def begin(self: Collection, *items: Any) -> list[str]:
        begun.set()
        return add(self, *items)

    monkeypatch.setattr(Collection, "add", begin)
    server = Server(stand_in, "127.0.0.1:0", collections=data, limits=LIMITS)
    await server.start()
    await server.warm()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = CollectionsStub(channel)
        await stub.CreateCollection(pb.CreateCollectionRequest(name="letters"))
        await stub.GetCollection(pb.GetCollectionRequest(name="letters"))
        store = data.collections / "letters" / "items.sqlite"
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        call = asyncio.ensure_future(stub.Add(adding("letters", by_vector("x", 1, 0, 0))))
        assert await asyncio.to_thread(begun.wait, 10)
        stopping = asyncio.create_task(server.stop(grace=0.2))
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        assert not stopping.done()
        other.execute("COMMIT")
        other.close()
        await stopping
    assert not store.with_name("items.sqlite-wal").exists()


async def test_a_full_disk_keeps_no_server_from_its_collections(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held all the same; who asks is told less."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    first, second = Occupied(data), Occupied(data)
    first.take("127.0.0.1:1")
    with pytest.raises(Exception, match="served by another server"):
        second.take("127.0.0.1:2")
    first.leave()
    second.take("127.0.0.1:2")
    second.leave()
