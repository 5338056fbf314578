"""Image files into a collection: what is passed over, replaced, reported, and kept on interruption."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Filed, add_files, files
from extractor.collections.sightings import NO_FACTS, Facts, Sighting
from extractor.collections.store import Store
from extractor.collections.verify import verify
from extractor.errors import (
    FingerprintMismatch,
    InvalidImage,
    Unavailable,
)
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, OTHER, ids, make, store_file


class FakeEmbeds:
    """Embeds a file of digits as these digits; anything else is no image."""

    fingerprint = ONE
    dim = DIM

    def __init__(self) -> None:
        self.remembered: dict[bytes, Result] = {}
        self.asked: list[str] = []

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            self.asked.append(Path(str(image)).name)
            yield self._result(Path(str(image)))

    def close(self) -> None:
        pass

    def _result(self, path: Path) -> Result:
        try:
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            vector = np.array([int(digit) for digit in content.decode()], np.float32)
        except (OSError, ValueError) as error:
            return Result(None, InvalidImage(f"no image: {error}"), None, False, self.fingerprint)
        known = digest in self.remembered
        self.remembered[digest] = Result(vector, None, digest, known, self.fingerprint)
        return self.remembered[digest]


@pytest.fixture
def source() -> FakeEmbeds:
    return FakeEmbeds()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., list[str]]:
    def write(**contents: str) -> list[str]:
        for name, content in contents.items():
            (tmp_path / name).write_text(content)
        return [str(tmp_path / name) for name in contents]

    return write


def run(data: DataFolder, source: FakeEmbeds, paths: Iterable[str]) -> list[Filed]:
    filed: list[Filed] = []
    with make(data) as collection:
        add_files(collection, source, paths, filed.append)
    return filed


def statuses(filed: list[Filed]) -> dict[str, str]:
    return {Path(file.path).name: file.status for file in filed}


def test_a_second_run_reads_nothing(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Same path, size and time: passed over."""
    paths = photos(a="1000", b="0100")
    assert statuses(run(data, source, paths)) == {"a": "new", "b": "new"}
    source.asked.clear()
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "unchanged"}
    assert source.asked == []


def test_a_changed_file_is_replaced(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """A touched one with the same content is not counted as such, and passed over from then on."""
    paths = photos(a="1000", b="0100")
    run(data, source, paths)
    photos(a="0010")
    for path in paths:
        os.utime(path, ns=(1, 1))
    assert statuses(run(data, source, paths)) == {"a": "updated", "b": "unchanged"}
    with make(data) as collection:
        assert collection.get(paths[0]).vector.tolist() == [0, 0, 1, 0]
        assert len(collection) == 2
    source.asked.clear()
    run(data, source, paths)
    assert source.asked == []


def test_what_another_job_was_quicker_to_add_is_not_new(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Of two jobs of one folder at once each says what it has added."""
    paths = photos(a="1000", b="0100")
    stream = source.stream

    def overtaken(images: Iterable[ImageLike]) -> Iterator[Result]:
        for number, image in enumerate(images):
            if not number:
                run(data, FakeEmbeds(), paths[:1])
            yield from stream([image])

    source.stream = overtaken  # type: ignore[method-assign]
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "new"}
    with make(data) as collection:
        assert len(collection) == 2


def test_remembered_vectors_are_counted(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Two files of one content are two items, and one was computed."""
    filed = run(data, source, photos(a="1000", copy="1000"))
    assert [(file.status, file.cached) for file in filed] == [("new", False), ("new", True)]


def test_corrupt_images_among_good_ones_fail_alone(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Missing, corrupt, and a vector of zeros: each is named; no good one takes another's vector."""
    paths = [*photos(a="1000", bad="x", zero="0000", b="0100"), str(tmp_path / "missing"), *photos(c="0010")]
    filed = run(data, source, paths)
    assert {Path(file.path).name for file in filed if file.error} == {"bad", "zero", "missing"}
    with make(data) as collection:
        assert [ids(collection, *vector, k=1) for vector in np.eye(4)[:3]] == [
            [paths[0]],
            [paths[3]],
            [paths[5]],
        ]
        assert len(collection) == 3


def test_a_name_that_is_not_unicode_fails_alone(
    data: DataFolder, source: FakeEmbeds, tmp_path: Path, photos: Callable[..., list[str]]
) -> None:
    """Linux allows any bytes in a name."""
    odd = os.fsencode(tmp_path) + b"/\xff.jpg"
    Path(os.fsdecode(odd)).write_text("1000")
    filed = run(data, source, [os.fsdecode(odd), *photos(a="1000")])
    assert [file.status for file in filed] == ["failed", "new"]
    assert "not valid Unicode" in filed[0].error


def test_an_id_is_the_absolute_path(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the same file is one item from whatever folder it is named."""
    (path,) = photos(a="1000")
    run(data, source, [path])
    monkeypatch.chdir(tmp_path)
    assert statuses(run(data, source, ["a"])) == {"a": "unchanged"}


def test_an_interrupted_job_keeps_what_was_embedded(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Ctrl-C in the middle of a batch; the next run does the rest only."""
    paths = photos(a="1000", b="0100", c="0010")
    stream = source.stream

    def interrupted(images: Iterable[ImageLike]) -> Iterator[Result]:
        for number, result in enumerate(stream(images)):
            if number == 2:
                raise KeyboardInterrupt
            yield result

    source.stream = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(data, source, paths)
    source.stream = stream
    source.asked.clear()
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "unchanged", "c": "new"}
    assert source.asked == ["c"]


def test_files_are_reported_once_they_are_on_disk(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batch by batch, as another reader of the store sees it."""
    monkeypatch.setattr(files, "BATCH_ITEMS", 2)
    monkeypatch.setattr(files, "BATCH_SECONDS", 3600)
    with make(data) as collection, make(data) as reader:
        seen: list[tuple[str, int]] = []
        add_files(
            collection,
            source,
            photos(a="1000", b="0100", c="0010"),
            lambda filed: seen.append((Path(filed.path).name, len(reader))),
        )
    assert seen == [("a", 2), ("b", 2), ("c", 3)]


def test_a_store_that_cannot_be_written_stops_the_job(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was committed before stays and has been reported; nothing else has."""
    monkeypatch.setattr(files, "BATCH_ITEMS", 1)
    paths = photos(a="1000", b="0100", c="0010")
    filed: list[Filed] = []

    def note(file: Filed) -> None:
        filed.append(file)
        collection._store._database.writer.execute("PRAGMA query_only = ON")

    with make(data) as collection:
        with pytest.raises(Unavailable, match="readonly"):
            add_files(collection, source, paths, note)
        assert statuses(filed) == {"a": "new"}
        assert len(collection) == 1


def test_a_source_that_changes_its_backbone_is_stopped(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Before the job, and when a service comes back as another in the middle of it."""
    paths = photos(a="1000", b="0100")

    stream = source.stream

    def swapping(images: Iterable[ImageLike]) -> Iterator[Result]:
        for result in stream(images):
            yield result
            source.fingerprint = OTHER

    source.stream = swapping
    with pytest.raises(FingerprintMismatch):
        run(data, source, paths)
    with pytest.raises(FingerprintMismatch):
        run(data, source, paths)
    with make(data) as collection:
        assert len(collection) == 1


def test_thousands_of_corrupt_files_shift_no_row(
    data: DataFolder, source: FakeEmbeds, tmp_path: Path
) -> None:
    """Every one of them is named, and each good one has the vector of its own digits."""
    good = {}
    for number in range(3000):
        path = tmp_path / f"{number:04}"
        digits = f"{number + 1:04}"
        path.write_text(digits if number % 13 == 0 else f"x{number}")
        if number % 13 == 0:
            good[str(path)] = [int(digit) for digit in digits]
    filed = run(data, source, [str(tmp_path / f"{number:04}") for number in range(3000)])
    assert {file.path for file in filed if file.status == "failed"} == {
        str(tmp_path / f"{number:04}") for number in range(3000)
    } - set(good)
    with make(data) as collection:
        assert {entry.id: entry.vector.tolist() for entry in collection.items(vectors=True)} == good


def test_a_file_of_the_same_bytes_is_named_with_its_first(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """In one commit and in the next; the first itself is no duplicate."""
    a, copy, b = photos(a="1000", copy="1000", b="0100")
    assert [file.duplicate_of for file in run(data, source, [a, copy, b])] == ["", a, ""]
    (later,) = photos(later="0100")
    assert [file.duplicate_of for file in run(data, source, [later])] == [b]


def test_what_is_remembered_is_not_asked_for(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """A source that can look digests up is given only what it does not know."""
    paths = photos(a="1000", b="0100", c="0010")
    asked = list(source.embed(paths[:2]))
    source.lookup = lambda digests: [r and r.embedding for r in map(source.remembered.get, digests)]
    source.asked.clear()
    filed = run(data, source, paths)
    assert source.asked == ["c"]
    assert {Path(file.path).name: file.cached for file in filed} == {"a": True, "b": True, "c": False}
    with make(data) as collection:
        assert collection.get(paths[1]).vector.tolist() == asked[1].embedding.tolist()


def test_a_touched_file_gets_no_new_vector(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Its stamp is changed in place: no index has to follow, and nothing is embedded."""
    (path,) = photos(a="1000")
    run(data, source, [path])
    with make(data) as collection:
        (before,) = collection.items()
    os.utime(path, ns=(1, 1))
    source.asked.clear()
    run(data, source, [path])
    with make(data) as collection:
        (after,) = collection.items()
    assert source.asked == []
    assert (after.number, after.file.mtime_ns) == (before.number, 1)


# --- damaged items ---------------------------------------------------------------


def damaged(data: DataFolder, *statements: str) -> None:
    """Change what is stored by hand, so that the checksums do not fit."""
    with make(data) as collection, collection._store.writing() as db:
        for statement in statements:
            db.execute(statement)


LOST = "UPDATE items SET label = 'changed by hand' WHERE number = 2"


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("spoken_of", [False, True])
@pytest.mark.parametrize(
    ("damage", "label", "said"),
    [
        (LOST, None, "another checksum: its label and other metadata are lost"),
        ("UPDATE items SET label = 'nther' WHERE number = 2", "other", "another checksum"),
        ("UPDATE items SET label = CAST(x'ff' AS TEXT) WHERE number = 2", None, "no Unicode: its label and"),
        ("DELETE FROM vectors WHERE number = 2", "other", "it has no vector"),
    ],
)
def test_a_damaged_item_is_replaced_from_its_file_and_holds_nobody_up(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    damage: str,
    label: str | None,
    said: str,
    spoken_of: bool,
    touched: bool,
) -> None:
    """The image is the truth of its vector; a label is kept where a single bit has flipped, or none of it."""
    paths = photos(a="1000", b="0100", c="0010")
    run(data, source, paths)
    labelled(data)
    damaged(data, damage)
    for path in paths if touched else []:
        os.utime(path, ns=(1, 1))
    filed: list[Filed] = []
    facts = Facts(metadata={"more": 1}) if spoken_of else NO_FACTS
    with make(data) as collection:
        add_files(collection, source, paths, filed.append, lambda _: facts)
    by_name = {Path(file.path).name: file for file in filed}
    assert [by_name[name].status for name in "abc"] == (
        ["updated"] * 3 if spoken_of else ["unchanged", "updated", "unchanged"]
    )
    assert said in by_name["b"].damage
    assert (by_name["a"].damage, by_name["c"].damage) == ("", "")
    assert held(data) == {"a": "other", "b": label, "c": "other"}
    with make(data) as collection:
        assert collection.get(paths[1]).vector.tolist() == [0, 1, 0, 0]
    assert not any(file.damage for file in run(data, source, paths))


def test_a_damaged_vector_is_found_when_its_file_is_read(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Reading all vectors for files that are not read would cost more than the files."""
    paths = photos(a="1000", b="0100")
    run(data, source, paths)
    labelled(data)
    damaged(data, "UPDATE vectors SET vector = zeroblob(16) WHERE number = 2")
    os.utime(paths[1], ns=(1, 1))
    filed = run(data, source, paths)
    assert [(file.status, file.damage) for file in filed] == [
        ("unchanged", ""),
        ("updated", "its vector has another checksum"),
    ]
    with make(data) as collection:
        assert collection.get(paths[1]).vector.tolist() == [0, 1, 0, 0]
        assert collection.get(paths[1]).label == "other"


def test_a_row_changed_below_sqlite_s_indexes_is_replaced(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """The bytes of the file itself: the index of labels has another one than the row."""
    paths = photos(a="1000", b="0100")
    run(data, source, paths)
    labelled(data, b="somethinglong")
    path = store_file(data)
    content = path.read_bytes()
    at = content.index(b"somethinglong{")  # the row, whose metadata follows
    path.write_bytes(content[:at] + b"nothing" + content[at + 7 :])
    os.utime(paths[0], ns=(1, 1))
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "updated"}
    assert held(data) == {"a": "other", "b": None}
    with closing(Store.find(data, "cats")) as store:
        assert verify(store).sound


def test_a_copy_of_a_damaged_item_s_file_is_added(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Whether the damaged one has moved there is not known."""
    a, b = photos(a="1000", b="0100")
    run(data, source, [a, b])
    damaged(data, LOST)
    assert statuses(run(data, source, photos(copy="0100"))) == {"copy": "new"}


# --- files that moved ------------------------------------------------------------


def labelled(data: DataFolder, **labels: str) -> None:
    """Give labels to items, named by the ends of their ids."""
    with make(data) as collection:
        for item in list(collection.items()):
            collection.set([item.id], label=labels.get(Path(item.id).name, "other"))


def held(data: DataFolder) -> dict[str, str | None]:
    with make(data) as collection:
        return {Path(item.id).name: item.label for item in collection.items()}


def test_an_item_follows_its_file(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Renamed, and in a folder that was moved: label and vector stay, and nothing is computed."""
    (tmp_path / "old").mkdir()
    a, b = photos(**{"a": "1000", "old/b": "0100"})
    run(data, source, [a, b])
    labelled(data, a="cat", b="dog")
    (tmp_path / "old").rename(tmp_path / "new")
    Path(a).rename(tmp_path / "z")
    source.asked.clear()
    z, b_now = str(tmp_path / "z"), str(tmp_path / "new" / "b")
    filed = run(data, source, [z, b_now])
    assert [(file.status, file.moved_from) for file in filed] == [("moved", a), ("moved", b)]
    assert source.asked == []
    assert held(data) == {"z": "cat", "b": "dog"}
    with make(data) as collection:
        assert ids(collection, 1, 0, 0, 0, k=1) == [z]
        assert collection.get(z).file.source == z
    assert [file.status for file in run(data, source, [z, b_now])] == ["unchanged", "unchanged"]


def test_a_copy_is_no_move(data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]) -> None:
    """Its first file is there still."""
    (a,) = photos(a="1000")
    run(data, source, [a])
    (filed,) = run(data, source, photos(copy="1000"))
    assert (filed.status, filed.duplicate_of, filed.moved_from) == ("new", a, "")


def test_of_two_files_of_the_lost_bytes_the_first_is_the_moved_one(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """The other is a new item, with all that a new one has."""
    (a,) = photos(a="1000")
    run(data, source, [a])
    labelled(data, a="cat")
    Path(a).unlink()
    first, second = run(data, source, photos(b="1000", c="1000"))
    assert (first.status, first.moved_from) == ("moved", a)
    assert (second.status, second.duplicate_of) == ("new", first.path)
    assert held(data) == {"b": "cat", "c": None}


def test_among_several_lost_files_the_name_tells(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Two pictures of the same bytes in a folder that was moved; what nobody can tell is new."""
    (tmp_path / "old").mkdir()
    run(data, source, photos(**{"old/a": "1000", "old/b": "1000"}))
    labelled(data, a="cat", b="dog")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "other").write_text("1000")
    new = [str(tmp_path / name) for name in ("other", "new/b", "new/a")]
    assert statuses(run(data, source, new)) == {"other": "new", "b": "moved", "a": "moved"}
    assert held(data) == {"a": "cat", "b": "dog", "other": None}


def test_an_item_that_is_not_called_after_its_file_stays(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Somebody else knows it by its id."""
    (a,) = photos(a="1000")
    run(data, source, [a])
    with make(data) as collection:
        collection.add([replace(collection.get(a), id="mine")])
        collection.delete([a])
    Path(a).unlink()
    (filed,) = run(data, source, photos(b="1000"))
    assert (filed.status, filed.duplicate_of) == ("new", "mine")
    assert held(data) == {"mine": None, "b": None}


def test_an_item_that_another_process_moves_meanwhile_is_reported(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said to be there that is not."""
    (a,) = photos(a="1000")
    run(data, source, [a])
    Path(a).unlink()
    (b,) = photos(b="1000")
    move = files._Filing._move

    def delete_before(self: files._Filing, sighting: Sighting, old: str) -> None:
        move(self, sighting, old)
        with make(data) as other:
            other.delete([old])

    monkeypatch.setattr(files._Filing, "_move", delete_before)
    (filed,) = run(data, source, [b])
    assert (filed.status, filed.path) == ("failed", b)
    assert "run the same again" in filed.error
    monkeypatch.undo()
    assert [file.status for file in run(data, source, [b])] == ["new"]
