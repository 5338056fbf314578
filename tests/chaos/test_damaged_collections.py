"""Flipped bits, cut files, old states, as failing disks and power cuts leave them: never a wrong answer."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, FileStamp, Item
from extractor.collections.item import Entry
from extractor.collections.repair import repair
from extractor.collections.store import Store, store_path
from extractor.collections.verify import verify
from extractor.errors import DamagedFile, PenultimateError
from extractor.indexes import kinds
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from tests.chaos.mixed_load import DIM, Model, held, opened, queries, write

WRITES = 40


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def worked(data: DataFolder, kind: str = "exact") -> Model:
    """A collection after some writes of all sorts, its index saved; what it should hold."""
    model = Model()
    with opened(data) as collection:
        for number in range(WRITES):
            write(number)(collection)
            write(number)(model)
        collection.reindex({"kind": kind})
        assert collection.info().index.kind == kind
    return model


def index(data: DataFolder) -> Path:
    return store_path(data, "c").parent / "index"


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def blank(content: bytes, draw: random.Random) -> bytes:
    """A block that was never written, as after a power cut; a byte behind it, where it was blank anyway."""
    place = draw.randrange(len(content))
    blanked = content[:place] + bytes(len(content[place : place + 4096])) + content[place + 4096 :]
    return blanked if blanked != content else content + b"\0"


def grow(content: bytes, draw: random.Random) -> bytes:
    return content + draw.randbytes(draw.randrange(1, 5000))


Damage = Callable[[bytes, random.Random], bytes]


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_damaged_index_is_made_again_and_said_so(
    data: DataFolder, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of every kind, at places drawn at random; the answers are those of the judge."""
    monkeypatch.setattr(kinds, "LEAST_APPROXIMATE", 50)
    model, draw = worked(data, kind), random.Random(kind)
    files = [file for file in sorted(index(data).rglob("*")) if file.is_file() and file.name[0] != "."]
    assert len(files) >= 4
    for file in files:
        whole = file.read_bytes()
        for damage in (cut, flip, flip, flip, blank, grow):
            file.write_bytes(damage(whole, draw))
            caplog.clear()
            with opened(data) as collection:
                model.check(collection, queries(1))
            assert {record.getMessage().partition(" (")[0] for record in caplog.records} == {
                "the saved index of the collection 'c' is damaged"
            }, (file.name, damage)
        file.write_bytes(whole)


def test_an_older_index_and_what_killed_writers_left_are_no_obstacle(
    data: DataFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An index folder from before the last commits is read on from; drafts are ignored, and cleared."""
    model = worked(data)
    shutil.copytree(index(data), tmp_path / "older")
    with opened(data) as collection:
        for number in range(WRITES, 2 * WRITES):
            write(number)(collection)
            write(number)(model)
        collection.reindex()
    shutil.rmtree(index(data))
    shutil.copytree(tmp_path / "older", index(data))
    (segment,) = [path for path in index(data).iterdir() if path.is_dir()]
    for draft in (f".{segment.name}-abcdefgh", ".manifest.json-abcdefgh", "1-99-abcdefgh"):
        shutil.copytree(segment, index(data) / draft)
        os.truncate(index(data) / draft / "segment.json", 20)
    (store_path(data, "c").parent / ".items.sqlite-abcdefgh").mkdir()
    for _ in range(2):
        with opened(data) as collection:
            model.check(collection, queries(2))
            collection.reindex()
            model.check(collection, queries(3))
    assert not caplog.records
    assert len([path for path in index(data).iterdir() if path.is_dir() and path.name[0] != "."]) == 1


def flipped_stores(data: DataFolder, count: int) -> Iterator[int]:
    """Open the same file again and again with another bit flipped, anywhere in it; yields which."""
    file, draw = store_path(data, "c"), random.Random(count)
    whole = file.read_bytes()
    for _ in range(count):
        place = draw.randrange(len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        yield place
    file.write_bytes(whole)


def everything(data: DataFolder) -> dict[int, tuple[object, ...]]:
    """Of all items the number, the vector, and all else but the thumbnail, after all has been searched."""
    with opened(data) as collection:
        collection.search(queries(4), 10**6)
        collection.info()
        held(collection)
        return {entry.number: _plain(entry) for entry in collection.items(vectors=True)}


def _plain(entry: Entry) -> tuple[object, ...]:
    assert entry.vector is not None
    return (*entry[1:-1], entry.vector.tobytes())


def is_found_damaged(data: DataFolder) -> bool:
    with closing(Store.find(data, "c")) as store:
        try:
            return not verify(store).sound
        except DamagedFile:
            return True


@pytest.mark.parametrize("saved", [True, False], ids=["index saved", "index made again"])
def test_a_bit_that_flips_anywhere_in_the_store_gives_no_item_anything_of_another(
    data: DataFolder, saved: bool
) -> None:
    """It is an error, or changes no item that is read; a changed number of items is found by `verify`."""
    worked(data)
    sound = everything(data)
    if not saved:
        shutil.rmtree(index(data))
    refused = 0
    for place in flipped_stores(data, 150):
        try:
            there = everything(data)
        except PenultimateError:
            refused += 1
            continue
        assert all(there[number] == sound[number] for number in there.keys() & sound.keys()), place
        assert there == sound or is_found_damaged(data), place
    assert refused
    assert everything(data) == sound


class Recalls:
    """Embeds a file of the name of an item as that item's vector."""

    fingerprint, dim = "f", DIM

    def __init__(self, model: Model) -> None:
        self._model = model

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            vector = np.frombuffer(self._model[Path(str(image)).name].vector, np.float32)
            yield Result(vector, None, b"", False, "f")

    def close(self) -> None:
        pass


def test_a_bit_that_flips_in_a_vector_is_named_found_and_mended(data: DataFolder, tmp_path: Path) -> None:
    """The search that would need it fails and names the item; repairing it is all that it takes."""
    model, draw = worked(data), random.Random(5)
    with opened(data) as collection:
        for id in list(model):
            (tmp_path / id).touch()
            items = [
                Item(id, np.frombuffer(model[id].vector, np.float32), file=FileStamp.of(str(tmp_path / id)))
            ]
            collection.add(items)
            model.add(items)
    for id in draw.sample(list(model), 10):
        file = store_path(data, "c")
        content, vector = file.read_bytes(), model[id].vector
        assert content.count(vector) >= 1
        file.write_bytes(content.replace(vector, flip(vector, draw)))
        shutil.rmtree(index(data), ignore_errors=True)
        with opened(data) as collection, pytest.raises(DamagedFile, match=rf"'{id}'.* repair c"):
            collection.search(queries(5))
        with closing(Store.find(data, "c")) as store:
            assert [fault.id for fault in verify(store).named] == [id]
            assert repair(store, Recalls(model), lambda _: None).embedded == 1
            assert verify(store).sound
        model[id] = model.pop(id)  # written last
        with opened(data) as collection:
            model.check(collection, queries(5))


def states(data: DataFolder, aside: Path) -> list[Model]:
    """What should be there after each of some commits, all still in SQLite's log; its files lie `aside`."""
    model, after = worked(data), []
    with opened(data) as collection:
        after.append(Model(model))
        for number in range(WRITES, WRITES + 8):
            write(number)(collection)
            write(number)(model)
            after.append(Model(model))
        collection.reindex()
        shutil.copytree(data.root, aside)
    assert (aside / "collections/c/items.sqlite-wal").stat().st_size
    return after


@pytest.mark.parametrize("damage", [cut, flip, blank])
def test_a_torn_log_leaves_whole_commits_and_an_index_that_fits(
    data: DataFolder, tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    """Those before the tear, though the index was saved after it; numbers given again are no others' rows."""
    caplog.set_level(logging.ERROR)
    after, draw, seen = states(data, tmp_path / "aside"), random.Random(6), set()
    for number in range(12):
        shutil.rmtree(data.root)
        shutil.copytree(tmp_path / "aside", data.root)
        log = store_path(data, "c").with_name("items.sqlite-wal")
        log.write_bytes(damage(log.read_bytes(), draw))
        with opened(data) as collection:
            model = held(collection)
        seen.add(after.index(model))
        with closing(Store.find(data, "c")) as store:
            assert verify(store).sound
        with opened(data) as collection:
            for other in range(100 + number, 100 + number + number % 4):
                write(other)(collection)
                write(other)(model)
            model.check(collection, queries(number))
    assert len(seen) > 1, "no tear was ever in another place, so nothing was tested"


def test_a_store_of_a_newer_release_is_refused_and_left_as_it_is(data: DataFolder) -> None:
    """Also where its index and its log lie beside it; in one sentence, with what to do."""
    worked(data)
    file = store_path(data, "c")
    content = bytearray(file.read_bytes())
    content[60:64] = (4).to_bytes(4, "big")  # where SQLite keeps user_version
    file.write_bytes(content)
    before = {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    with pytest.raises(PenultimateError, match=r"'c' is of version 4.* use the release that wrote it"):
        Collection.open(data, "c")
    after = {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    assert after == before
