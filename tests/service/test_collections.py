"""Collections over gRPC, with a stand-in that embeds a few bytes as its numbers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor._pb.penultimate.v1.collections_pb2_grpc import CollectionsStub
from extractor.collections import Collection, Item
from extractor.errors import AlreadyExists, InvalidImage, Overloaded
from extractor.results import Result
from extractor.server import Server
from extractor.settings import DataFolder, ServiceLimits
from tests.service.conftest import StandIn

OTHER = "cd" * 32


def embed_numbers(stand_in: StandIn) -> None:
    """Let an image of three bytes have those as its vector, and all others be no images."""

    def settle(image: bytes, future: Future[Result]) -> None:
        digest = hashlib.sha256(image).digest()
        if len(image) == 3:
            vector = np.frombuffer(image, np.uint8).astype(np.float32)
            future.set_result(Result(vector, None, digest, False, stand_in.fingerprint))
        else:
            error = InvalidImage(f"{image!r} is no image")
            future.set_result(Result(None, error, digest, False, stand_in.fingerprint))

    stand_in.on_submit = settle


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest_asyncio.fixture
async def server(stand_in: StandIn, data: DataFolder) -> AsyncIterator[Server]:
    embed_numbers(stand_in)
    server = Server(stand_in, "127.0.0.1:0", collections=data, limits=ServiceLimits(items_per_call=64))
    await server.start()
    await server.warm()
    yield server
    await server.stop(grace=1)


@pytest_asyncio.fixture
async def stub(server: Server) -> AsyncIterator[CollectionsStub]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield CollectionsStub(channel)


@pytest_asyncio.fixture
async def letters(stub: CollectionsStub) -> CollectionsStub:
    """With a collection of three items by vector, one along each axis."""
    await stub.CreateCollection(pb.CreateCollectionRequest(name="letters"))
    await stub.Add(
        adding("letters", by_vector("x", 1, 0, 0), by_vector("y", 0, 1, 0), by_vector("z", 0, 0, 1))
    )
    return stub


def packed(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


def by_vector(id: str, *numbers: float, **more: Any) -> pb.NewItem:
    return pb.NewItem(id=id, vector=packed(*numbers), **more)


def by_image(image: bytes, id: str = "", **more: Any) -> pb.NewItem:
    return pb.NewItem(id=id, image=image, **more)


def adding(collection: str, *items: pb.NewItem, **more: Any) -> pb.AddRequest:
    return pb.AddRequest(collection=collection, items=items, **more)


def query(*like: Any, unlike: Sequence[Any] = ()) -> pb.Query:
    return pb.Query(like=map(example, like), unlike=map(example, unlike))


def example(what: Any) -> pb.Example:
    if isinstance(what, tuple):
        return pb.Example(vector=packed(*what))
    return pb.Example(id=what) if isinstance(what, str) else pb.Example(image=what)


async def found(
    stub: CollectionsStub, *queries: pb.Query, name: str = "letters", **more: Any
) -> list[list[str]]:
    """The ids of each query's matches."""
    answer = await stub.Search(pb.SearchRequest(collection=name, queries=queries, **more))
    assert not any(result.HasField("error") for result in answer.results), answer
    return [[match.id for match in result.matches] for result in answer.results]


async def failing(call: Any, code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    assert failure.value.code() is code, failure.value.details()
    return failure.value


def codes(results: Any) -> list[int]:
    return [result.error.code for result in results]


async def test_what_is_added_is_on_disk_and_found(letters: CollectionsStub, data: DataFolder) -> None:
    """By the next search, and by another process."""
    assert await found(letters, query((1, 0.5, 0))) == [["x", "y", "z"]]
    with Collection.open(data, "letters") as there:
        assert len(there) == 3
        np.testing.assert_array_equal(there.get("y").vector, [0, 1, 0])


async def test_a_collection_is_of_the_servers_backbone(letters: CollectionsStub, stand_in: StandIn) -> None:
    """Unless the caller says otherwise."""
    info = await letters.GetCollection(pb.GetCollectionRequest(name="letters"))
    assert (info.name, info.fingerprint, info.dim) == ("letters", stand_in.fingerprint, 3)
    assert (info.backbone, info.count) == ("stand-in", 3)


async def test_collections_are_listed_and_dropped(letters: CollectionsStub, data: DataFolder) -> None:
    """What is dropped is gone from the disk, and can be made anew."""
    await letters.CreateCollection(pb.CreateCollectionRequest(name="another"))
    listed = await letters.ListCollections(pb.ListCollectionsRequest())
    assert list(listed.names) == ["another", "letters"]
    await letters.DropCollection(pb.DropCollectionRequest(name="letters"))
    assert [path.name for path in data.collections.iterdir() if path.is_dir()] == ["another"]
    search = pb.SearchRequest(collection="letters", queries=[query((1, 0, 0))])
    await failing(letters.Search(search), grpc.StatusCode.NOT_FOUND)
    await failing(letters.DropCollection(pb.DropCollectionRequest(name="letters")), grpc.StatusCode.NOT_FOUND)
    info = await letters.CreateCollection(pb.CreateCollectionRequest(name="letters"))
    assert info.count == 0


async def test_a_collection_is_made_once(letters: CollectionsStub) -> None:
    """Or found, where that will do, if it is of the same backbone."""
    request = pb.CreateCollectionRequest(name="letters")
    await failing(letters.CreateCollection(request), grpc.StatusCode.ALREADY_EXISTS)
    request.exist_ok = True
    assert (await letters.CreateCollection(request)).count == 3
    request = pb.CreateCollectionRequest(
        name="letters", exist_ok=True, fingerprint=OTHER, dim=3, backbone="other"
    )
    await failing(letters.CreateCollection(request), grpc.StatusCode.FAILED_PRECONDITION)


@pytest.mark.parametrize("name", ["", "../away", ".hidden", "a/b", "x" * 101])
async def test_a_name_that_is_none_is_refused(stub: CollectionsStub, name: str) -> None:
    """Before it touches a path."""
    for call, request in (
        (stub.CreateCollection, pb.CreateCollectionRequest(name=name)),
        (stub.GetCollection, pb.GetCollectionRequest(name=name)),
        (stub.DropCollection, pb.DropCollectionRequest(name=name)),
        (stub.Add, adding(name)),
    ):
        await failing(call(request), grpc.StatusCode.INVALID_ARGUMENT)


async def test_images_are_embedded_and_those_that_are_none_fail_alone(letters: CollectionsStub) -> None:
    """Each result is in its place, and no row shifts."""
    items = [by_image(b"no"), by_image(b"\1\2\3", "a"), by_vector("b", 3, 2, 1), by_image(b"none", "c")]
    answer = await letters.Add(adding("letters", *items))
    assert codes(answer.results) == [1, 0, 0, 1]
    assert [result.id for result in answer.results] == [hashlib.sha256(b"no").hexdigest(), "a", "b", "c"]
    assert answer.results[3].error.reason == "b'none' is no image"
    assert await found(letters, query((1, 2, 3)), query((3, 2, 1)), k=1) == [["a"], ["b"]]


async def test_an_image_without_an_id_is_known_by_its_digest(letters: CollectionsStub) -> None:
    """So that the same image is one item, however often it comes."""
    for _ in range(2):
        (result,) = (await letters.Add(adding("letters", by_image(b"\7\7\7")))).results
        assert result.id == hashlib.sha256(b"\7\7\7").hexdigest() == result.digest.hex()
    assert (await letters.GetCollection(pb.GetCollectionRequest(name="letters"))).count == 4


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (pb.NewItem(id="a"), "neither an image nor a vector"),
        (by_vector("", 1, 2, 3), "id must not be empty"),
        (by_vector("a", 1, 2), "8 bytes"),
        (by_vector("a", 0, 0, 0), "zero"),
        (by_vector("a", 1, np.nan, 0), "finite"),
        (by_vector("a", 1, 2, 3, digest=b"short"), "32 bytes"),
    ],
)
async def test_an_item_that_cannot_be_used_fails_alone(
    letters: CollectionsStub, item: pb.NewItem, said: str
) -> None:
    """The sentence says what is wrong with it."""
    answer = await letters.Add(
        adding("letters", by_vector("before", 1, 1, 0), item, by_vector("after", 0, 1, 1))
    )
    assert codes(answer.results) == [0, pb.ItemError.INVALID_ARGUMENT, 0]
    assert said in answer.results[1].error.reason
    assert await found(letters, query((1, 1, 0)), query((0, 1, 1)), k=1) == [["before"], ["after"]]


async def test_an_item_replaces_the_one_of_its_id(letters: CollectionsStub) -> None:
    """Of two of one id in a request, the later one stays."""
    await letters.Add(adding("letters", by_vector("x", 0, 0, 1), by_vector("x", 1, 1, 1)))
    assert await found(letters, query((1, 1, 1)), k=1) == [["x"]]
    assert (await letters.GetCollection(pb.GetCollectionRequest(name="letters"))).count == 3


async def test_where_ids_must_be_new_only_those_that_are_not_fail(letters: CollectionsStub) -> None:
    """Also when they come twice in one request."""
    items = [by_vector("x", 0, 1, 1), by_vector("a", 1, 1, 0), by_vector("a", 0, 0, 1)]
    answer = await letters.Add(adding("letters", *items, if_exists=pb.AddRequest.ERROR))
    assert codes(answer.results) == [pb.ItemError.ALREADY_EXISTS, 0, pb.ItemError.ALREADY_EXISTS]
    assert "'x'" in answer.results[0].error.reason
    assert await found(letters, query((1, 1, 0)), query((1, 0, 0)), k=1) == [["a"], ["x"]]


async def test_items_are_got_by_their_ids(letters: CollectionsStub) -> None:
    """In the order that was asked for; one that is not there fails alone."""
    request = pb.GetItemsRequest(collection="letters", ids=["z", "no", "x"], vectors=True)
    answer = await letters.GetItems(request)
    assert [result.WhichOneof("outcome") for result in answer.results] == ["item", "error", "item"]
    assert answer.results[1].error.code == pb.ItemError.NOT_FOUND
    assert answer.results[0].item.vector == packed(0, 0, 1)


async def test_what_is_deleted_is_not_found_any_more(letters: CollectionsStub) -> None:
    """By the next search; ids that are not there are passed over."""
    assert await found(letters, query((1, 0, 0)), k=1) == [["x"]]
    answer = await letters.DeleteItems(pb.DeleteItemsRequest(collection="letters", ids=["x", "no"]))
    assert answer.count == 1
    assert await found(letters, query((1, 0.5, 0))) == [["y", "z"]]


async def test_examples_are_averaged_and_others_taken_away(letters: CollectionsStub) -> None:
    """By image, by vector and by item, of one call; each counts alike, whatever its length."""
    queries = [
        query("x", (0, 1, 0)),
        query(b"\x09\x09\x09", unlike=["x"]),
        query((9, 0, 0), (0, 1, 0), unlike=["y"]),
    ]
    answer = await letters.Search(pb.SearchRequest(collection="letters", queries=queries))
    scores = [{match.id: match.score for match in result.matches} for result in answer.results]
    assert scores[0] == pytest.approx({"x": 0.5**0.5, "y": 0.5**0.5, "z": 0}, abs=1e-6)
    assert [match.id for match in answer.results[1].matches] == ["y", "z", "x"]
    assert scores[2] == pytest.approx({"x": 0.5**0.5, "y": -(0.5**0.5), "z": 0}, abs=1e-6)


async def test_a_query_that_cannot_be_made_fails_alone(letters: CollectionsStub) -> None:
    """Its neighbours have their answers, in their places."""
    queries = [
        query("x"),
        query(b"no image"),
        query("nobody"),
        query((1, 2)),
        query((0, 0, 0)),
        query(),
        query("x", unlike=["x"]),
        pb.Query(like=[pb.Example()]),
        query("z"),
    ]
    answer = await letters.Search(pb.SearchRequest(collection="letters", queries=queries, k=1))
    error = pb.ItemError
    wrong = [error.INVALID_IMAGE, error.NOT_FOUND, *5 * [error.INVALID_ARGUMENT]]
    assert codes(answer.results) == [0, *wrong, 0]
    assert [match.id for result in answer.results for match in result.matches] == ["x", "z"]


async def test_another_fingerprint_is_refused(letters: CollectionsStub, stand_in: StandIn) -> None:
    """The trailers have both; and the server does not embed for another backbone's collection."""
    for call in (
        letters.Add(adding("letters", by_vector("a", 1, 1, 1), fingerprint=OTHER)),
        letters.Search(pb.SearchRequest(collection="letters", queries=[query((1, 0, 0))], fingerprint=OTHER)),
    ):
        await failing(call, grpc.StatusCode.FAILED_PRECONDITION)
    made = pb.CreateCollectionRequest(name="foreign", fingerprint=OTHER, dim=3, backbone="other")
    await letters.CreateCollection(made)
    answer = await letters.Add(adding("foreign", by_vector("a", 1, 1, 1), fingerprint=OTHER))
    assert codes(answer.results) == [0]
    for call in (
        letters.Add(adding("foreign", by_image(b"\1\1\1"))),
        letters.Search(pb.SearchRequest(collection="foreign", queries=[query(b"\1\1\1")])),
    ):
        failure = await failing(call, grpc.StatusCode.FAILED_PRECONDITION)
        assert dict(failure.trailing_metadata() or ())["penultimate-fingerprint"] == stand_in.fingerprint
    assert await found(letters, query("a"), name="foreign") == [["a"]]


async def test_a_collection_that_another_process_replaced_is_seen(
    letters: CollectionsStub, data: DataFolder, stand_in: StandIn
) -> None:
    """Or removed; no answer is from what was there before."""
    assert await found(letters, query((1, 0, 0)), k=1) == [["x"]]
    shutil.rmtree(data.collections / "letters")
    search = pb.SearchRequest(collection="letters", queries=[query((1, 0, 0))])
    await failing(letters.Search(search), grpc.StatusCode.NOT_FOUND)
    with Collection.create(
        data, "letters", fingerprint=stand_in.fingerprint, dim=3, backbone="stand-in"
    ) as other:
        other.add([Item("new", np.ones(3, np.float32))])
    assert await found(letters, query((1, 0, 0))) == [["new"]]


async def test_what_another_process_adds_is_found(letters: CollectionsStub, data: DataFolder) -> None:
    """By the next search."""
    assert await found(letters, query((1, 1, 0)), k=1) == [["x"]]
    with Collection.open(data, "letters") as other:
        other.add([Item("xy", np.array([1, 1, 0], np.float32))])
    assert await found(letters, query((1, 1, 0)), k=1) == [["xy"]]


async def test_a_stream_acknowledges_each_request_in_order(
    letters: CollectionsStub, data: DataFolder
) -> None:
    """What was acknowledged is on disk, whatever comes after."""
    call = letters.AddStream()
    for number in range(20):
        await call.write(
            adding("letters", by_vector(f"s{number}", 1, number, 0), by_image(b"bad", f"b{number}"))
        )
        answer = await call.read()
        assert [result.id for result in answer.results] == [f"s{number}", f"b{number}"]
        with Collection.open(data, "letters") as there:
            assert there.known(f"s{number}")
    await call.write(adding("nowhere", by_vector("lost", 1, 1, 1)))
    await call.done_writing()
    await failing(call.read(), grpc.StatusCode.NOT_FOUND)


async def test_the_later_request_of_a_stream_stays(letters: CollectionsStub, stand_in: StandIn) -> None:
    """Even when its item is ready before that of the one ahead of it."""
    held: list[Future[Result]] = []
    stand_in.on_submit = lambda image, future: held.append(future)

    async def requests() -> AsyncIterator[pb.AddRequest]:
        yield adding("letters", by_image(b"\1\1\1", "same"))
        yield adding("letters", by_vector("same", 1, 0, 1))

    call = letters.AddStream(requests())
    while not held:
        await asyncio.sleep(0.01)
    count = pb.GetCollectionRequest(name="letters")
    for _ in range(20):
        assert (await letters.GetCollection(count)).count == 3  # the second waits for its turn
    held[0].set_result(Result(np.ones(3, np.float32), None, b"d" * 32, False, stand_in.fingerprint))
    assert [codes(answer.results) async for answer in call] == [[0], [0]]
    assert await found(letters, query((1, 0, 1)), k=1) == [["same"]]
    got = await letters.GetItems(pb.GetItemsRequest(collection="letters", ids=["same"], vectors=True))
    assert got.results[0].item.vector == packed(1, 0, 1)


async def test_requests_that_come_together_share_a_commit(
    letters: CollectionsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred small additions at once are far fewer commits, and each is on disk."""
    commits: list[int] = []
    add = Collection.add

    def counted(self: Collection, items: Any, **more: Any) -> Any:
        batch = list(items)
        commits.append(len(batch))
        return add(self, batch, **more)

    monkeypatch.setattr(Collection, "add", counted)
    calls = [letters.Add(adding("letters", by_vector(f"i{number}", 1, number, 1))) for number in range(100)]
    answers = await asyncio.gather(*calls)
    assert [codes(answer.results) for answer in answers] == [[0]] * 100
    assert sum(commits) == 100
    assert len(commits) < 50
    assert (await letters.GetCollection(pb.GetCollectionRequest(name="letters"))).count == 103


async def test_too_much_in_one_call_is_refused(letters: CollectionsStub) -> None:
    """Items, ids, queries, and the matches of all queries."""
    many = [by_vector(str(number), 1, 1, 1) for number in range(65)]
    refused = grpc.StatusCode.INVALID_ARGUMENT
    await failing(letters.Add(adding("letters", *many)), refused)
    await failing(letters.GetItems(pb.GetItemsRequest(collection="letters", ids=["x"] * 65)), refused)
    await failing(letters.Search(pb.SearchRequest(collection="letters", queries=[query("x")] * 65)), refused)
    large = pb.SearchRequest(collection="letters", queries=[query("x")] * 2, k=60_000)
    await failing(letters.Search(large), refused)


async def test_a_full_embedder_refuses_images_and_takes_vectors(
    letters: CollectionsStub, stand_in: StandIn
) -> None:
    """Only what has to be computed waits for the network."""

    def full(image: bytes, future: Future[Result]) -> None:
        raise Overloaded("full", 3)

    stand_in.on_submit = full
    await failing(letters.Add(adding("letters", by_image(b"\1\1\1"))), grpc.StatusCode.RESOURCE_EXHAUSTED)
    answer = await letters.Add(adding("letters", by_vector("a", 1, 1, 1)))
    assert codes(answer.results) == [0]


async def test_before_the_network_is_proved_nothing_is_served(stand_in: StandIn, data: DataFolder) -> None:
    """As for every other method."""
    server = Server(stand_in, "127.0.0.1:0", collections=data)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = CollectionsStub(channel).ListCollections(pb.ListCollectionsRequest())
        await failing(call, grpc.StatusCode.UNAVAILABLE)
    await server.stop(grace=0)


async def test_a_second_server_of_the_same_collections_is_refused(
    server: Server, stand_in: StandIn, data: DataFolder
) -> None:
    """The sentence says who has them; one that only embeds may run; so may all once it has ended."""
    second = Server(stand_in, "127.0.0.1:0", collections=data)
    with pytest.raises(AlreadyExists, match=rf"process \d+ at {server.address}"):
        await second.start()
    only_embeds = Server(stand_in, "127.0.0.1:0")
    await only_embeds.start()
    await only_embeds.stop(grace=0)
    await server.stop(grace=0)
    third = Server(stand_in, "127.0.0.1:0", collections=data)
    await third.start()
    await third.stop(grace=0)


@pytest_asyncio.fixture
async def labelled(letters: CollectionsStub) -> CollectionsStub:
    """Two hundred more items, with labels and metadata."""
    for begin in range(0, 200, 50):
        items = [
            by_vector(
                f"n{number:03}",
                *(1, number, 1),
                label="even" if number % 2 == 0 else "odd",
                metadata=json.dumps({"number": number, "nested": {"tens": number // 10}}),
            )
            for number in range(begin, begin + 50)
        ]
        await letters.Add(adding("letters", *items))
    return letters


async def test_label_and_metadata_are_kept_and_counted(labelled: CollectionsStub) -> None:
    """Numbers keep their digits."""
    big = 2**53 + 1
    await labelled.Add(adding("letters", by_vector("big", 1, 1, 1, metadata=json.dumps({"big": big}))))
    got = await labelled.GetItems(pb.GetItemsRequest(collection="letters", ids=["n007", "big"]))
    seven, other = (result.item for result in got.results)
    assert (seven.label, json.loads(seven.metadata)) == ("odd", {"number": 7, "nested": {"tens": 0}})
    assert not other.HasField("label")
    assert json.loads(other.metadata) == {"big": big}
    info = await labelled.GetCollection(pb.GetCollectionRequest(name="letters"))
    assert dict(info.labels) == {"even": 100, "odd": 100}
    assert info.bytes > 200 * 12


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"metadata": "{"}, "JSON object"),
        ({"metadata": "[1]"}, "JSON object"),
        ({"metadata": '{"a": NaN}'}, "nan"),
        ({"metadata": '{"a": 1e999}'}, "inf"),
        ({"metadata": "[" * 100_000}, "JSON object"),
        ({"metadata": json.dumps({"a": "x" * 70_000})}, "at most"),
        ({"label": ""}, "label"),
    ],
)
async def test_a_label_or_metadata_that_cannot_be_kept_fails_alone(
    letters: CollectionsStub, more: dict[str, str], said: str
) -> None:
    """With its reason."""
    answer = await letters.Add(adding("letters", by_vector("a", 1, 1, 1, **more), by_vector("b", 1, 1, 1)))
    assert codes(answer.results) == [pb.ItemError.INVALID_ARGUMENT, 0]
    assert said in answer.results[0].error.reason


async def test_label_and_metadata_are_changed(labelled: CollectionsStub) -> None:
    """The label is set or taken away; metadata is merged by key."""
    ids = ["n000", "n001", "nobody"]
    change = pb.SetItemsRequest(
        collection="letters", ids=ids, label="new", metadata='{"number": null, "more": [1, 2]}'
    )
    assert (await labelled.SetItems(change)).count == 2
    got = await labelled.GetItems(pb.GetItemsRequest(collection="letters", ids=["n001"]))
    assert got.results[0].item.label == "new"
    assert json.loads(got.results[0].item.metadata) == {"more": [1, 2], "nested": {"tens": 0}}
    await labelled.SetItems(pb.SetItemsRequest(collection="letters", ids=ids, clear_label=True))
    got = await labelled.GetItems(pb.GetItemsRequest(collection="letters", ids=["n001"]))
    assert not got.results[0].item.HasField("label")
    assert json.loads(got.results[0].item.metadata) == {"more": [1, 2], "nested": {"tens": 0}}


async def test_a_listing_is_paged_and_filtered(labelled: CollectionsStub) -> None:
    """In the order of writing; what is deleted meanwhile shifts no page."""
    seen: list[str] = []
    request = pb.ListItemsRequest(collection="letters", filter="label = 'odd'", page_size=30, vectors=True)
    while True:
        page = await labelled.ListItems(request)
        assert all(len(item.vector) == 12 for item in page.items)
        seen += [item.id for item in page.items]
        if not page.next_page_token:
            break
        await labelled.DeleteItems(pb.DeleteItemsRequest(collection="letters", ids=seen[-5:]))
        request.page_token = page.next_page_token
    assert seen == [f"n{number:03}" for number in range(1, 200, 2)]
    everything = await labelled.ListItems(pb.ListItemsRequest(collection="letters", page_size=1000))
    assert len(everything.items) == 64  # as many as a call may have
    assert not everything.items[0].vector


@pytest.mark.parametrize("token", ["x", "-1", "9" * 30])
async def test_a_page_token_that_is_none_is_refused(letters: CollectionsStub, token: str) -> None:
    """In a sentence."""
    request = pb.ListItemsRequest(collection="letters", page_token=token)
    failure = await failing(letters.ListItems(request), grpc.StatusCode.INVALID_ARGUMENT)
    assert "page token" in (failure.details() or "")


async def test_a_search_is_filtered_bounded_and_says_what_it_found(labelled: CollectionsStub) -> None:
    """By a filter, by a smallest score; with labels and metadata where they are asked for."""
    search = pb.SearchRequest(
        collection="letters",
        queries=[query((0, 1, 0))],
        filter="label = 'even' and nested.tens < 3",
        k=3,
        attributes=True,
    )
    (result,) = (await labelled.Search(search)).results
    assert [match.id for match in result.matches] == ["n028", "n026", "n024"]
    assert [match.label for match in result.matches] == ["even"] * 3
    assert json.loads(result.matches[0].metadata)["number"] == 28
    search.min_score = result.matches[1].score
    (result,) = (await labelled.Search(search)).results
    assert [match.id for match in result.matches] == ["n028", "n026"]


async def test_a_filter_that_cannot_be_read_is_refused(letters: CollectionsStub) -> None:
    """Before anything is searched or listed; the sentence is the filter's own."""
    for call in (
        letters.Search(pb.SearchRequest(collection="letters", queries=[query("x")], filter="label = ")),
        letters.ListItems(pb.ListItemsRequest(collection="letters", filter="label = ")),
    ):
        await failing(call, grpc.StatusCode.INVALID_ARGUMENT)
