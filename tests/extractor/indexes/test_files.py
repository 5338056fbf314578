"""A segment's files: whole, or refused by name."""

from pathlib import Path

import numpy as np
import pytest

from extractor.errors import DamagedFile, InvalidArgument
from extractor.indexes.files import MANIFEST, Reader, Writer
from extractor.indexes.kinds import KINDS, build, load, save
from extractor.indexes.segments import Kind

COUNT = 10_000


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a segment."""
    kind: Kind = request.param
    vectors = np.random.default_rng(0).standard_normal((COUNT, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp(kind)
    save(build(kind, 8, [(np.arange(COUNT), vectors)], COUNT, recall=0.5), folder)
    assert load(folder).kind == kind
    return folder


def test_a_bit_that_flips_anywhere_is_noticed(saved: Path) -> None:
    """In every file, at its beginning, its end and between, and the file is named."""
    for file in saved.iterdir():
        content = file.read_bytes()
        for place in (0, len(content) // 3, len(content) - 1):
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            file.write_bytes(flipped)
            with pytest.raises(DamagedFile, match=file.name):
                load(saved)
        file.write_bytes(content)
    load(saved)


def test_a_file_that_was_cut_short_or_is_gone_is_noticed(saved: Path) -> None:
    """Also one that lost everything, or has become longer."""
    for file in saved.iterdir():
        content = file.read_bytes()
        for other in (content[:-1], content[: len(content) // 2], b"", content + b"\0"):
            file.write_bytes(other)
            with pytest.raises(DamagedFile, match=file.name):
                load(saved)
        file.unlink()
        with pytest.raises(DamagedFile, match=file.name):
            load(saved)
        file.write_bytes(content)
    load(saved)


def test_a_manifest_of_another_release_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may mean something else by the same files."""
    monkeypatch.setattr("extractor.indexes.files._VERSION", 99)
    with pytest.raises(DamagedFile, match="version 2, this release reads version 99"):
        load(saved)


def test_a_disk_that_is_full_is_a_sentence(saved: Path, tmp_path: Path) -> None:
    """Whichever file was being written: FAISS's too, which would not have told."""
    segment = load(saved)
    for name in [file.name for file in saved.iterdir() if file.stat().st_size]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).symlink_to("/dev/full")
        with pytest.raises(InvalidArgument, match="No space left"):
            save(segment, folder)


def test_large_arrays_have_checksums_of_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces they are written in; what is read is what was written."""
    monkeypatch.setattr("extractor.indexes.files._PART", 1000)
    values = np.random.default_rng(0).standard_normal((57, 13))
    writer = Writer(tmp_path)
    writer.array("array", values)
    with writer.stream("stream") as write:
        for end in (1, 999, 1000, 1001, 3000, 4321):
            write(bytes(range(256)) * 16 + b"x" * end)
    writer.finish({"kind": "none"})
    reader = Reader(tmp_path)
    assert reader.array("array").tolist() == values.tolist()
    assert len(reader.facts["files"]["array"]["crc32"]) == 6
    assert len(reader.facts["files"]["stream"]["crc32"]) == -(-reader.path("stream").stat().st_size // 1000)
    for place in (0, 999, 1000, 5927):
        content = bytearray((tmp_path / "array").read_bytes())
        content[place] ^= 1
        (tmp_path / "array").write_bytes(content)
        with pytest.raises(DamagedFile, match="array"):
            Reader(tmp_path)
        content[place] ^= 1
        (tmp_path / "array").write_bytes(content)


def test_nothing_is_loaded_before_its_manifest_is_there(saved: Path) -> None:
    """It is written last."""
    manifest = saved / MANIFEST
    manifest.rename(saved / "aside")
    with pytest.raises(DamagedFile, match=MANIFEST):
        load(saved)
    (saved / "aside").rename(manifest)
