"""Verifying and repairing: every fault is found, and only what is damaged is embedded again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item
from extractor.collections import repair as repairing
from extractor.collections.item import FileStamp
from extractor.collections.repair import Mended, repair
from extractor.collections.store import Meta, Store, store_path
from extractor.collections.verify import NAMED, verify
from extractor.errors import DamagedFile, FingerprintMismatch, InvalidImage
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, OTHER, item


class Digits:
    """Embeds a file of digits as these digits; anything else is no image."""

    dim = DIM

    def __init__(self) -> None:
        self.fingerprint = ONE
        self.asked: list[str] = []

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            path = Path(str(image))
            self.asked.append(path.name)
            content = path.read_bytes()
            try:
                vector = np.array([int(digit) for digit in content.decode()], np.float32)
            except ValueError as error:
                yield Result(None, InvalidImage(f"no image: {error}"), None, False, self.fingerprint)
                continue
            yield Result(vector, None, hashlib.sha256(content).digest(), False, self.fingerprint)

    def close(self) -> None:
        pass


@pytest.fixture
def store(data: DataFolder, tmp_path: Path) -> Iterator[Store]:
    """Items a to d of files, with all that an item can have."""
    with closing(Store.create(store_path(data, "cats"), Meta(ONE, DIM, "lite0"))) as store:
        for place, name in enumerate("abcd"):
            file = tmp_path / name
            file.write_text("".join("1" if number == place else "0" for number in range(DIM)))
            digest = hashlib.sha256(file.read_bytes()).digest()
            vector = np.eye(DIM, dtype=np.float32)[place]
            store.put(
                [
                    Item(
                        name,
                        vector,
                        digest,
                        FileStamp.of(str(file)),
                        "cat",
                        {"n": place},
                        b"jpeg" + name.encode(),
                    )
                ]
            )
        yield store


def run(store: Store, source: Digits, *, drop: bool = False) -> tuple[repairing.Repair, list[Mended]]:
    told: list[Mended] = []
    return repair(store, source, told.append, drop=drop), told


def execute(store: Store, *statements: str) -> None:
    with store.writing() as db:
        for statement in statements:
            db.execute(statement)


def test_a_sound_collection_is_said_to_be_sound(store: Store, tmp_path: Path) -> None:
    """Items whose file is gone are counted, and are no fault; repairing it embeds nothing."""
    store.put([item("no file", 1, 0, 0, 0)])
    (tmp_path / "a").unlink()
    found = verify(store)
    assert (found.items, found.vectors, found.thumbnails, found.files_gone) == (5, 5, 4, 1)
    assert found.sound
    assert (found.faults, found.named, found.integrity) == (0, (), ())
    source = Digits()
    assert run(store, source) == (repairing.Repair(), [])
    assert source.asked == []


DAMAGE: list[tuple[str, str, str]] = [
    ("UPDATE vectors SET vector = zeroblob(16) WHERE number = 2", "vector", "another checksum"),
    ("UPDATE vectors SET vector = zeroblob(15) WHERE number = 2", "vector", "not of 4 values"),
    ("UPDATE vectors SET vector = 'text' WHERE number = 2", "vector", "not of 4 values"),
    ("UPDATE vectors SET checksum = checksum + 1 WHERE number = 2", "vector", "another checksum"),
    (
        "UPDATE vectors SET vector = zeroblob(16), checksum = checksum(2, zeroblob(16)) WHERE number = 2",
        "vector",
        "zero or not finite",
    ),
    (
        "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE number = 1),"
        " checksum = (SELECT checksum FROM vectors WHERE number = 1) WHERE number = 2",
        "vector",
        "another checksum",
    ),
    ("DELETE FROM vectors WHERE number = 2", "vector", "no vector"),
    ("UPDATE items SET metadata = '{' WHERE number = 2", "metadata", "no JSON"),
    ("UPDATE items SET metadata = '[1]' WHERE number = 2", "metadata", "no JSON object"),
]


@pytest.mark.parametrize(("damage", "kind", "reason"), DAMAGE)
def test_every_fault_is_found_and_mended(
    store: Store, data: DataFolder, damage: str, kind: str, reason: str
) -> None:
    """Only the damaged item is embedded; label, metadata and thumbnail stay, and it can be searched."""
    execute(store, damage)
    found = verify(store)
    assert not found.sound
    assert [(fault.id, fault.kind) for fault in found.named] == [("b", kind)]
    assert reason in found.named[0].reason
    source = Digits()
    done, told = run(store, source)
    assert done.sound
    assert verify(store).sound
    assert source.asked == (["b"] if kind == "vector" else [])
    assert [(mended.id, mended.outcome) for mended in told] == [
        ("b", "embedded" if kind == "vector" else "emptied")
    ]
    with store.reading() as reader:
        b = reader.get("b")
        assert b is not None
        assert b.vector.tolist() == [0, 1, 0, 0]
        assert (b.label, b.metadata) == ("cat", {"n": 1} if kind == "vector" else {})
        assert b.thumbnail == b"jpegb"
    with Collection.open(data, "cats") as collection:
        assert collection.search([[0, 1, 0, 0]], 1)[0][0].id == "b"


def test_a_vector_and_metadata_damaged_together_are_both_mended(store: Store) -> None:
    execute(store, "UPDATE items SET metadata = 'x' WHERE number = 3", "DELETE FROM vectors WHERE number = 3")
    assert verify(store).faults == 2
    done, told = run(store, Digits())
    assert [(mended.id, mended.outcome) for mended in told] == [("c", "emptied"), ("c", "embedded")]
    assert (done.emptied, done.embedded) == (1, 1)
    assert verify(store).sound


def test_what_belongs_to_no_item_is_found_and_removed(store: Store) -> None:
    execute(
        store,
        "DELETE FROM items WHERE id = 'a'",
        "INSERT INTO thumbnails VALUES (77, x'00')",
    )
    found = verify(store)
    assert not found.sound
    assert found.orphans == {"vectors": 1, "thumbnails": 2}
    done, told = run(store, Digits())
    assert (done.orphans, told) == (3, [])
    assert verify(store).sound


def test_what_cannot_be_mended_is_named_and_left(store: Store, tmp_path: Path) -> None:
    """A file that is gone, one that is no picture any more, and an item without a file."""
    store.put([item("no file", 1, 0, 0, 0)])
    execute(store, "DELETE FROM vectors")
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("x")
    (tmp_path / "c").write_text("0000")
    done, told = run(store, Digits())
    assert not done.sound
    assert (done.failed, done.embedded) == (4, 1)
    reasons = {mended.id: mended.reason for mended in told if mended.outcome == "failed"}
    assert "a is gone" in reasons["a"]
    assert "cannot be embedded: no image" in reasons["b"]
    assert "zero" in reasons["c"]
    assert "no file is known" in reasons["no file"]
    assert {fault.id for fault in verify(store).named} == {"a", "b", "c", "no file"}


def test_what_cannot_be_mended_is_removed_when_that_is_wished(store: Store, tmp_path: Path) -> None:
    execute(store, "DELETE FROM vectors WHERE number < 3")
    (tmp_path / "a").unlink()
    done, told = run(store, Digits(), drop=True)
    assert [(mended.id, mended.outcome) for mended in told] == [("a", "dropped"), ("b", "embedded")]
    assert (done.dropped, done.embedded, done.sound) == (1, 1, True)
    assert verify(store).sound


def test_a_file_that_holds_another_picture_by_now_is_said_to(store: Store, tmp_path: Path) -> None:
    """The item is of the new bytes then, as if it had been indexed again."""
    execute(store, "DELETE FROM vectors WHERE number = 1")
    (tmp_path / "a").write_text("2222")
    _, told = run(store, Digits())
    assert [(mended.id, mended.outcome) for mended in told] == [("a", "changed")]
    with store.reading() as reader:
        a = reader.get("a")
        assert a is not None
        assert a.vector.tolist() == [2, 2, 2, 2]
        assert a.digest == hashlib.sha256(b"2222").digest()
        assert a.file == FileStamp.of(str(tmp_path / "a"))


def test_an_item_that_was_written_anew_meanwhile_is_left_alone(store: Store) -> None:
    """A repair never puts an older vector in the place of a newer one."""
    execute(store, "DELETE FROM vectors WHERE number = 1")

    class Slow(Digits):
        def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
            for result in super().stream(images):
                store.put([item("a", 5, 5, 5, 5)])
                yield result

    done, told = run(store, Slow())
    assert (done.embedded, told) == (0, [])
    with store.reading() as reader:
        a = reader.get("a")
        assert a is not None
        assert a.vector.tolist() == [5, 5, 5, 5]


def test_an_interrupted_repair_keeps_what_it_has_mended(store: Store) -> None:
    """The next one does the rest only."""
    execute(store, "DELETE FROM vectors")

    class Interrupted(Digits):
        def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
            for result in super().stream(images):
                if len(self.asked) == 3:
                    raise KeyboardInterrupt
                yield result

    with pytest.raises(KeyboardInterrupt):
        run(store, Interrupted())
    source = Digits()
    run(store, source)
    assert source.asked == ["c", "d"]
    assert verify(store).sound


def test_another_backbone_repairs_nothing(store: Store) -> None:
    source = Digits()
    source.fingerprint = OTHER
    with pytest.raises(FingerprintMismatch, match="'cats'"):
        run(store, source)
    assert source.asked == []


def test_a_report_names_some_faults_and_counts_all(store: Store) -> None:
    store.put(item(str(number), 1, 0, 0, 0) for number in range(NAMED + 10))
    execute(store, "DELETE FROM vectors")
    found = verify(store)
    assert (found.faults, len(found.named)) == (NAMED + 14, NAMED)


def corrupt_index(store: Store) -> None:
    """An index of SQLite's own that lacks a row."""
    execute(
        store,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'label IS NOT NULL', 'label IS NULL')"
        " WHERE name = 'items_by_label'",
    )


def test_an_index_of_sqlite_that_does_not_fit_is_made_anew(store: Store, data: DataFolder) -> None:
    """It would hide items from filters; the items themselves are whole."""
    corrupt_index(store)
    with closing(Store.find(data, "cats")) as again:
        found = verify(again)
        assert not found.sound
        assert "items_by_label" in found.integrity[0]
        source = Digits()
        run(again, source)
        assert source.asked == []
        assert verify(again).sound


def test_a_torn_file_is_not_repaired_but_named(store: Store, data: DataFolder) -> None:
    """What a tree of SQLite's has lost cannot be told from what was never there."""
    store.put(Item(f"{n}" * 300, np.ones(DIM, np.float32), thumbnail=bytes(9000)) for n in range(200))
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'thumbnails'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(store.path.read_bytes())
    content[(root - 1) * size : root * size] = b"\x05" + bytes(size - 1)
    store.path.write_bytes(content)
    with (
        closing(Store.find(data, "cats")) as again,
        pytest.raises(DamagedFile, match="bring it back from a backup"),
    ):
        run(again, Digits())
