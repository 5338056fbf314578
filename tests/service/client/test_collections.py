"""Served collections through both clients, against our server over the stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extractor import errors
from extractor.client import AsyncClient, Client, NewItem, Query
from extractor.collections import Collection
from extractor.errors import InvalidImage
from extractor.results import Result
from extractor.server import Server
from extractor.settings import DataFolder
from tests.service.conftest import PATIENCE_S, StandIn

OTHER = "cd" * 32


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def embed_first_pixel(stand_in: StandIn) -> None:
    """Let an image's vector be the colour of its first pixel."""

    def settle(image: bytes, future: Future[Result]) -> None:
        digest = hashlib.sha256(image).digest()
        try:
            pixel = Image.open(io.BytesIO(image)).convert("RGB").getpixel((0, 0))
        except OSError:
            error = InvalidImage("no image")
            future.set_result(Result(None, error, digest, False, stand_in.fingerprint))
        else:
            vector = np.array(pixel, np.float32)
            future.set_result(Result(vector, None, digest, False, stand_in.fingerprint))

    stand_in.on_submit = settle


def picture(*colour: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def server(stand_in: StandIn, data: DataFolder, loop: Loop) -> Iterator[Server]:
    embed_first_pixel(stand_in)

    async def start() -> Server:
        server = Server(stand_in, "127.0.0.1:0", collections=data)
        await server.start()
        await server.warm()
        return server

    server = loop.run(start())
    yield server
    loop.run(server.stop(grace=1))


class Awaited:
    """An asynchronous client or collection, whose calls are made as those of one that blocks."""

    def __init__(self, subject: Any, loop: Loop) -> None:
        self._subject, self._loop = subject, loop

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = getattr(self._subject, name)(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return self._drawn(result)
            return self._loop.run(result) if asyncio.iscoroutine(result) else Awaited(result, self._loop)

        return call

    def _drawn(self, results: Any) -> Iterator[Any]:
        async def draw() -> Any:
            return await anext(results, None)

        while (result := self._loop.run(draw())) is not None:
            yield result


@pytest.fixture(params=["blocking", "asyncio"])
def open_client(request: pytest.FixtureRequest, loop: Loop) -> Iterator[Callable[..., Any]]:
    """Opens clients of one kind; both are called in the same way."""
    opened: list[Any] = []

    def open_(address: Any, **options: Any) -> Any:
        if request.param == "blocking":
            opened.append(Client(address, **options))
        else:

            async def make() -> AsyncClient:
                return AsyncClient(address, **options)

            opened.append(Awaited(loop.run(make()), loop))
        return opened[-1]

    yield open_
    for client in opened:
        client.close()


@pytest.fixture
def client(server: Server, open_client: Callable[..., Any]) -> Any:
    return open_client(server.address)


@pytest.fixture
def colours(client: Any) -> Any:
    """A collection of red, green and blue, by image."""
    colours = client.collection("colours")
    colours.create()
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    pictures = {"red": picture(*red), "green": picture(*green), "blue": picture(*blue)}
    assert all(added.ok for added in colours.add(NewItem(id, image) for id, image in pictures.items()))
    return colours


def ids(found: Any) -> list[str]:
    return [match.id for match in found.matches]


def test_a_collection_is_made_described_and_dropped(client: Any) -> None:
    """Its handle asks nothing before."""
    shelf = client.collection("shelf")
    assert client.collections() == []
    with pytest.raises(errors.NotFound, match="'shelf'"):
        shelf.info()
    assert shelf.create().count == 0
    with pytest.raises(errors.AlreadyExists, match="'shelf'"):
        shelf.create()
    assert shelf.create(exist_ok=True).dim == 3
    assert client.collections() == ["shelf"]
    shelf.drop()
    assert client.collections() == []


def test_items_are_added_by_image_and_by_vector(colours: Any, tmp_path: Path) -> None:
    """From bytes, files and PIL images; what is wrong with one is in its result, in its place."""
    (tmp_path / "purple.png").write_bytes(picture(200, 0, 200))
    items = [
        NewItem("file", tmp_path / "purple.png"),
        NewItem("gone", tmp_path / "gone.png"),
        NewItem("pil", Image.new("RGB", (4, 4), (0, 200, 200))),
        NewItem("bad", b"no image"),
        NewItem("both", tmp_path / "purple.png", np.ones(3)),
        NewItem("vector", vector=np.array([9, 9, 0])),
        NewItem("short", vector=np.ones(2)),
        NewItem(image=picture(7, 7, 7)),
    ]
    added = colours.add(items)
    assert [each.ok for each in added] == [True, False, True, False, False, True, False, True]
    wrong = [type(each.error) for each in added if not each.ok]
    assert wrong == [
        errors.NotFound,
        errors.InvalidImage,
        errors.InvalidArgument,
        errors.InvalidArgument,
    ]
    assert added[-1].id == hashlib.sha256(picture(7, 7, 7)).hexdigest() == added[-1].digest.hex()
    assert colours.info().count == 3 + 4
    queries = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]], np.float32)
    best = [ids(found)[0] for found in colours.search(queries, 1)]
    assert best == ["file", "pil", "vector", added[-1].id]


def test_a_search_is_by_image_by_vector_by_item_and_by_several(colours: Any, tmp_path: Path) -> None:
    """A query that cannot be made fails alone."""
    (tmp_path / "red.png").write_bytes(picture(99, 0, 0))
    vector = np.array([0, 3, 1], np.float32)
    mixed = Query(["red", picture(0, 50, 0)], unlike=["blue"])
    queries = [tmp_path / "red.png", "green", vector, mixed, "nobody", tmp_path / "gone.png", b"bad"]
    found = colours.search(queries, k=2)
    assert [each.ok for each in found] == [True] * 4 + [False] * 3
    assert [ids(each) for each in found[:3]] == [["red", "blue"], ["green", "blue"], ["green", "blue"]]
    assert set(ids(found[3])) == {"red", "green"}
    wrong = [type(each.error) for each in found[4:]]
    assert wrong == [errors.NotFound, errors.NotFound, errors.InvalidImage]
    assert found[0].matches[0].score == 1
    assert found[0].matches[0].distance == 0


def test_an_item_is_got_and_deleted(colours: Any) -> None:
    """By its id."""
    red = colours.get("red")
    np.testing.assert_array_equal(red.vector, [255, 0, 0])
    assert red.digest == hashlib.sha256(picture(255, 0, 0)).digest()
    assert colours.delete(["red", "nobody"]) == 1
    with pytest.raises(errors.NotFound, match="'red'"):
        colours.get("red")


@pytest.mark.parametrize(
    "call",
    [
        lambda colours: colours.delete("rgb"),
        lambda colours: colours.set("rgb", label="letter"),
        lambda colours: colours.search("rgb"),
        lambda colours: colours.search(Query(["red"])),
        lambda colours: colours.search(np.ones(3, np.float32)),
        lambda colours: colours.add(NewItem("one", picture(1, 1, 1))),
        lambda colours: colours.add(b"letters"),
        lambda _: Query("rgb"),
        lambda _: Query(["red"], unlike="rgb"),
        lambda _: Query(Path("red.png")),
        lambda _: Query(np.ones(3, np.float32)),
    ],
)
def test_a_single_thing_in_place_of_a_list_is_refused(colours: Any, call: Callable[[Any], object]) -> None:
    """Its letters are not taken for items: nothing is changed."""
    assert colours.add([NewItem(letter, picture(9, 9, 9), label="kept") for letter in "rgb"])
    with pytest.raises(errors.InvalidArgument, match="must be a list, not a single"):
        call(colours)
    assert [colours.get(letter).label for letter in "rgb"] == ["kept"] * 3
    assert colours.info().count == 6


def test_what_is_of_another_type_is_refused_in_a_sentence(client: Any, colours: Any) -> None:
    """What comes one by one fails alone."""
    with pytest.raises(errors.InvalidArgument, match="an item's id is a text, not list"):
        colours.get(["red"])
    with pytest.raises(errors.InvalidArgument, match="an item's id is a text, not int"):
        colours.delete(["red", 7])
    assert colours.get("red").id == "red"
    with pytest.raises(errors.InvalidArgument, match="a digest is a SHA-256 of 32 bytes, not 'abc'"):
        client.lookup(["abc"])
    with pytest.raises(errors.InvalidArgument, match="digests must be a list, not a single bytes"):
        client.lookup(bytes(32))
    path, array = colours.add([Path("red.png"), NewItem("x", np.ones(3, np.float32))])
    assert "an item to add is a NewItem, not PosixPath" in str(path.error)
    assert "NewItem(id, vector=array)" in str(array.error)


def test_ids_that_are_there_can_be_kept(colours: Any) -> None:
    """Each fails alone, and says so."""
    items = [NewItem("red", picture(1, 1, 1)), NewItem("grey", picture(1, 1, 1))]
    kept, new = colours.add(items, replace=False)
    assert isinstance(kept.error, errors.AlreadyExists)
    assert new.ok
    np.testing.assert_array_equal(colours.get("red").vector, [255, 0, 0])


def test_thousands_of_items_are_streamed_and_corrupt_ones_are_named(colours: Any, data: DataFolder) -> None:
    """In order, lazily, each in its place; no good one is lost or shifted."""
    drawn = 0

    def items() -> Iterator[NewItem]:
        nonlocal drawn
        for number in range(1500):
            drawn += 1
            if number % 7 == 3:
                yield NewItem(f"bad{number}", b"corrupt %d" % number)
            else:
                yield NewItem(f"item{number}", vector=np.array([number, 1, 2], np.float32))

    results = colours.stream(items())
    first = next(results)
    assert first.id == "item0"
    assert drawn < 1500
    every = [first, *results]
    assert [each.id for each in every] == [
        f"bad{number}" if number % 7 == 3 else f"item{number}" for number in range(1500)
    ]
    assert [each.ok for each in every] == [number % 7 != 3 for number in range(1500)]
    with Collection.open(data, "colours") as there:
        for number in (0, 1, 2, 4, 1498):
            assert there.get(f"item{number}").vector[0] == number
        assert len(there) == 3 + sum(each.ok for each in every)


def test_another_backbones_vectors_are_refused(client: Any, colours: Any, data: DataFolder) -> None:
    """The message names both fingerprints; told whose they are, the collection of another is used."""
    foreign = client.collection("colours", fingerprint=OTHER)
    for call in (
        lambda: foreign.search([np.ones(3, np.float32)]),
        lambda: foreign.add([NewItem("x", vector=np.ones(3))]),
    ):
        with pytest.raises(errors.FingerprintMismatch, match="what was sent to the collection") as caught:
            call()
        assert (caught.value.expected, caught.value.found) == (StandIn.fingerprint, OTHER)
    Collection.create(data, "other", fingerprint=OTHER, dim=3, backbone="other").close()
    other = client.collection("other", fingerprint=OTHER)
    assert other.add([NewItem("x", vector=np.ones(3))])[0].ok
    assert ids(other.search([np.ones(3, np.float32)])[0]) == ["x"]
    with pytest.raises(errors.FingerprintMismatch, match="the collection 'other'") as caught:
        other.add([NewItem("y", picture(1, 1, 1))])
    assert (caught.value.expected, caught.value.found) == (StandIn.fingerprint, OTHER)


def test_several_servers_have_no_collections_in_common(open_client: Callable[..., Any]) -> None:
    """So a client of several has none."""
    client = open_client("127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(errors.InvalidArgument, match="open a client of one of them"):
        client.collection("colours")


def test_a_server_that_takes_too_long_is_given_up(
    open_client: Callable[..., Any], server: Server, colours: Any, stand_in: StandIn
) -> None:
    """After the client's timeout for each acknowledgement, however long the stream."""
    stand_in.on_submit = lambda image, future: None
    hurried = open_client(server.address, timeout=0.5).collection("colours")
    with pytest.raises(errors.DeadlineExceeded, match="in time"):
        hurried.add([NewItem("x", picture(1, 2, 3))])


def test_items_are_labelled_changed_and_listed(colours: Any) -> None:
    """Filtered, in the order of writing, over several pages; searches say what they found."""
    more = (
        NewItem(f"n{number}", vector=np.array([1, number, 0]), label="n", metadata={"number": number})
        for number in range(600)
    )
    assert all(added.ok for added in colours.add(more))
    assert colours.set(["red", "green", "nobody"], label="warm", metadata={"hex": "f00"}) == 2
    assert colours.set(["green"], label=None, metadata={"hex": None, "nested": {"a": [1]}}) == 1
    listed = {item.id: item for item in colours.items()}
    assert list(listed) == ["red", "green", "blue", *(f"n{number}" for number in range(600))]
    facts = {"width": 4, "height": 4, "format": "PNG"}
    assert (listed["red"].label, listed["red"].metadata) == ("warm", facts | {"hex": "f00"})
    assert (listed["green"].label, listed["green"].metadata) == (None, facts | {"nested": {"a": [1]}})
    some = list(colours.items(where="number >= 598", vectors=True))
    assert [item.id for item in some] == ["n598", "n599"]
    np.testing.assert_array_equal(some[1].vector, [1, 599, 0])
    assert colours.info().labels == {"n": 600, "warm": 1}
    (found,) = colours.search([np.array([0, 1, 0], np.float32)], 2, where="number <= 3", attributes=True)
    assert [(match.id, match.label) for match in found.matches] == [("n3", "n"), ("n2", "n")]
    assert found.matches[0].metadata == {"number": 3}
    with pytest.raises(errors.InvalidArgument, match="filter"):
        list(colours.items(where="number >"))


def test_size_format_and_a_thumbnail_are_kept_of_each_image(client: Any) -> None:
    """The thumbnail is of the longer side that was asked for, or there is none."""
    stream = io.BytesIO()
    Image.new("RGB", (400, 200), (200, 10, 10)).save(stream, "PNG")
    for name, thumbnails, size in (("usual", None, (128, 64)), ("small", 20, (20, 10)), ("none", 0, None)):
        collection = client.collection(name)
        assert collection.create(thumbnails=thumbnails).thumbnails == (max(size) if size else 0)
        collection.add([NewItem("wide", stream.getvalue()), NewItem("vector", vector=np.ones(3))])
        thumbnail = collection.get("wide").thumbnail
        assert (Image.open(io.BytesIO(thumbnail)).size if thumbnail else None) == size
        assert collection.get("vector").thumbnail == b""
        assert collection.get("wide").metadata == {"width": 400, "height": 200, "format": "PNG"}
        collection.add([NewItem("wide", stream.getvalue(), metadata={"width": "wide"})])
        assert collection.get("wide").metadata["width"] == "wide"  # the caller knows best


def test_an_item_that_cannot_travel_fails_alone(client: Any, colours: Any) -> None:
    """A name that is no Unicode, what is no vector, an image larger than any message."""
    vector, large = np.ones(3, np.float32), bytes(client.info().message_bytes)
    items = [
        NewItem("first", vector=vector),
        NewItem("\udcff.jpg", vector=vector),
        NewItem("metadata", vector=vector, metadata={"name": "\udcff"}),
        NewItem("text", vector="abc"),
        NewItem("table", vector=vector[None]),
        NewItem("label", vector=vector, label=5),  # type: ignore[arg-type]
        NewItem("large", large),
        NewItem("last", vector=vector),
    ]
    added = colours.add(items)
    assert [each.id for each in added] == [item.id for item in items]
    assert [place for place, each in enumerate(added) if each.ok] == [0, 7]
    assert isinstance(added[6].error, errors.ImageTooLarge)
    assert all(isinstance(each.error, errors.InvalidArgument) for each in added[1:6])
    assert colours.info().count == 5


def test_a_large_item_never_makes_a_request_too_large(client: Any, colours: Any) -> None:
    """It goes in one of its own when there is no room beside what came before it."""
    small, large = bytes(1 << 20), bytes(client.info().image_bytes - 1)
    added = colours.add([NewItem("small", small), NewItem("large", large)])
    assert all(isinstance(each.error, errors.InvalidImage) for each in added)


def test_queries_are_divided_as_the_server_takes_them(client: Any, colours: Any) -> None:
    """By matches and by examples; one with more examples than a call may have fails alone."""
    red = np.array([255, 0, 0], np.float32)
    assert [ids(found)[0] for found in colours.search([red] * 64, k=5000)] == ["red"] * 64
    several = colours.search([Query(["green", "green"] * 50)] * 30, k=1)
    assert [ids(found) for found in several] == [["green"]] * 30
    much = Query(["green"] * (client.info().items_per_call + 1))
    before, failed, invalid, after = colours.search([red, much, "\udcff", red], k=1)
    assert ids(before) == ids(after) == ["red"]
    assert "examples" in str(failed.error)
    assert "Unicode" in str(invalid.error)


def slowly(count: int, at: int, then: Callable[[], object]) -> Iterator[NewItem]:
    """Items, before one of which something happens that takes a while."""
    for number in range(count):
        if number == at:
            then()
        yield NewItem(f"n{number}", vector=np.array([1, number, 0]))


def test_a_stream_goes_on_after_a_restart_while_items_are_drawn(
    open_client: Callable[..., Any], server: Server, stand_in: StandIn, data: DataFolder, loop: Loop
) -> None:
    """What is sent into the stream that has ended is sent again into the next one."""
    later = Server(stand_in, server.address, collections=data)

    async def begin() -> None:
        await server.stop(grace=1)
        await later.start()
        await later.warm()

    numbers = open_client(server.address, timeout=20).collection("numbers")
    numbers.create()
    try:
        added = numbers.add(slowly(1500, 1000, lambda: loop.run(begin())))
        assert [each.id for each in added] == [f"n{number}" for number in range(1500)]
        assert all(each.ok for each in added)
        assert numbers.info().count == 1500
    finally:
        loop.run(later.stop(grace=1))


def test_a_collection_of_another_backbone_is_not_made(client: Any, stand_in: StandIn) -> None:
    """The server makes one of its own; the vectors that are to come would not fit."""
    with pytest.raises(
        errors.FingerprintMismatch, match=r"sent to the collection 'foreign'.*leave the finger"
    ):
        client.collection("foreign", fingerprint=OTHER).create()
    assert client.collections() == []
    assert client.collection("own", fingerprint=stand_in.fingerprint).create().count == 0


async def test_items_that_come_asynchronously_are_added(server: Server, data: DataFolder) -> None:
    """They come on the caller's loop, as many as there is room for, and their error ends the call."""
    loop = asyncio.get_running_loop()

    async def items(count: int) -> AsyncIterator[NewItem]:
        for number in range(count):
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is loop
            yield NewItem(f"n{number}", vector=[number + 1, 0, 0])
        if count == 3:
            raise ZeroDivisionError

    async with AsyncClient(server.address) as client:
        numbers = client.collection("numbers")
        await numbers.create()
        added = await numbers.add(items(100))
        assert [each.id for each in added if each.ok] == [f"n{number}" for number in range(100)]
        assert (await numbers.info()).count == 100
        with pytest.raises(ZeroDivisionError):
            await numbers.add(items(3))


def test_a_stream_that_has_failed_meanwhile_says_why(client: Any, colours: Any) -> None:
    """Although items are drawn, and sent, after its end."""
    nowhere = client.collection("nowhere")
    with pytest.raises(errors.NotFound, match="nowhere"):
        nowhere.add(slowly(2000, 800, lambda: time.sleep(0.5)))


def test_a_server_that_does_not_read_is_given_up(
    open_client: Callable[..., Any], server: Server, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the timeout, also while a message waits to be sent."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    hurried = open_client(server.address, timeout=0.5).collection("colours")
    assert hurried.info().count == 3
    monkeypatch.setattr(server.calls.door, "receive", never)
    noise = bytes(2 << 20)
    with pytest.raises(errors.DeadlineExceeded, match="in time"):
        hurried.add(NewItem(f"n{number}", noise) for number in range(40))
