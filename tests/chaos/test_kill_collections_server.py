"""`kill -9` of a server that takes a bulk of items: what it acknowledged is on disk, and the bulk goes on."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from extractor.client import Client, NewItem
from extractor.collections import Collection
from extractor.errors import InvalidImage
from extractor.settings import DataFolder
from tests.chaos.conftest import Album, Serve

ITEMS = 3000
KILLS = 3


def vector(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(1280).astype(np.float32)


def items(album: Album) -> Iterator[NewItem]:
    """Mostly vectors; every hundredth an image, and the one after it a corrupt one."""
    for number in range(ITEMS):
        match number % 100:
            case 0:
                yield NewItem(f"i{number}", album.file(number))
            case 1:
                yield NewItem(f"i{number}", album.file(number)[:200])
            case _:
                yield NewItem(f"i{number}", vector=vector(number))


def test_a_bulk_outlives_killed_servers_and_nothing_acknowledged_is_lost(
    serve: Serve, album: Album, data: DataFolder
) -> None:
    """After each kill, before anything is mended, the store holds all that was acknowledged, whole."""
    server = serve()
    kills = set(random.Random(7).sample(range(200, ITEMS - 200), KILLS))
    with Client(server.address) as client:
        bulk = client.collection("bulk")
        bulk.create()
        acknowledged: list[str] = []
        for number, added in enumerate(bulk.stream(items(album))):
            assert added.id == f"i{number}"
            assert added.ok == (number % 100 != 1), added.error
            if added.ok:
                acknowledged.append(added.id)
            else:
                assert isinstance(added.error, InvalidImage)
            if number in kills:
                server.kill()
                check(data, acknowledged)
                server = serve(address=server.address)
        assert number == ITEMS - 1
        assert bulk.info().count == len(acknowledged) == ITEMS - ITEMS // 100
        found = bulk.search([vector(2321), album.file(2300)], k=1)
        assert found[0].matches[0].id == "i2321"
        assert found[1].matches[0].score > 0.999


def check(data: DataFolder, acknowledged: list[str]) -> None:
    """All are there, with their own vectors."""
    with Collection.open(data, "bulk") as there:
        for id in acknowledged:
            assert there.known(id), id
        for id in random.Random(len(acknowledged)).sample(acknowledged, 50):
            if (number := int(id[1:])) % 100:
                np.testing.assert_array_equal(there.get(id).vector, vector(number))
