from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers import Head, HeadManifest, ServedHeads, fit_head, load_head, promote, rollback, save_head
from classifiers.store import versions as store_versions
from classifiers.store.bundle import read_tested
from classifiers.store.versions import delete, head_names, serving_version, versions
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.settings import DataFolder

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32) + np.repeat([[0.0], [2]], 10, axis=0)
Y = np.repeat(["ash", "birch"], 10)


def head(sign: int = 1, name: str = "trees") -> Head:
    manifest = HeadManifest(name, "logistic", ["ash", "birch"], "f" * 64, "pixels", 4)
    return Head(manifest, fit_head(sign * X, Y).model_)


@pytest.fixture
def three(store: DataFolder) -> DataFolder:
    """A head with three versions, of which the first answers."""
    for _ in range(3):
        save_head(head(), store)
    return store


def test_the_first_version_answers_and_later_ones_wait(three: DataFolder) -> None:
    assert versions("trees", three) == [1, 2, 3]
    assert serving_version("trees", three) == 1
    assert save_head(head(), three).serving == 1


def test_a_version_that_is_promoted_answers(three: DataFolder) -> None:
    saved = save_head(head(-1), three)
    assert load_head("trees", three).predict(X).tolist() == Y.tolist()
    assert promote("trees", data=three) == saved.version == 4
    assert load_head("trees", three).predict(-X).tolist() == Y.tolist()
    assert load_head("trees", three, version=1).predict(X).tolist() == Y.tolist()


def test_a_version_is_promoted_as_it_is_saved(three: DataFolder) -> None:
    assert save_head(head(), three, promote=True).serving == 4
    assert rollback("trees", three) == 1


def test_rolling_back_goes_through_what_was_promoted(three: DataFolder) -> None:
    for version in (2, 3, 1):
        promote("trees", version, three)
    assert [rollback("trees", three) for _ in range(3)] == [3, 2, 1]
    with pytest.raises(InvalidArgument, match="no promotion left to go back on: version 1 answers"):
        rollback("trees", three)


def test_what_was_deleted_is_not_rolled_back_to(three: DataFolder) -> None:
    for version in (2, 3):
        promote("trees", version, three)
    delete("trees", 2, three)
    assert rollback("trees", three) == 1


def test_the_version_that_answers_is_not_deleted(three: DataFolder) -> None:
    with pytest.raises(InvalidArgument, match=r"version 1 .* is the one that answers"):
        delete("trees", 1, three)
    delete("trees", 3, three)
    assert versions("trees", three) == [1, 2]


@pytest.mark.parametrize("deleted", [[2], [3], [3, 2]])
def test_a_number_is_never_given_twice(three: DataFolder, deleted: list[int]) -> None:
    for version in deleted:
        delete("trees", version, three)
    assert [save_head(head(), three).version for _ in range(2)] == [4, 5]
    delete("trees", 5, three)
    assert save_head(head(), three).version == 6


def test_a_delete_that_is_killed_frees_no_number(three: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before the version is gone nor right after."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    removed = store_versions.remove_folder
    for step in (killed, lambda path: (removed(path), killed())):
        monkeypatch.setattr(store_versions, "remove_folder", step)
        with pytest.raises(KeyboardInterrupt):
            delete("trees", 3, three)
    assert versions("trees", three) == [1, 2]
    assert save_head(head(), three).version == 4


def test_a_damaged_record_of_numbers_says_what_to_do(three: DataFolder) -> None:
    (three.heads / "trees/given").write_text("many")
    with pytest.raises(DamagedFile, match=r"given is damaged .*: remove it, and the next version"):
        save_head(head(), three)
    assert versions("trees", three) == [1, 2, 3]


def test_a_head_is_deleted_with_all_its_versions(three: DataFolder) -> None:
    delete("trees", data=three)
    assert head_names(three) == []
    for ask in (delete, promote, rollback):
        with pytest.raises(NotFound, match="no head 'trees'"):
            ask("trees", data=three)


def test_a_version_that_is_not_there_names_those_that_are(three: DataFolder) -> None:
    with pytest.raises(NotFound, match="no version 7: it has 1, 2, 3"):
        promote("trees", 7, three)


def test_what_is_no_head_is_not_listed(three: DataFolder) -> None:
    """A folder that a first save has left on a full disk, one that no head can be called, a file."""
    for folder in ("empty", "lost+found", "imagenet", "begun/versions/.0001-x"):
        (three.heads / folder).mkdir(parents=True)
    (three.heads / "notes.txt").touch()
    assert head_names(three) == ["trees"]


def test_a_damaged_version_is_not_promoted(three: DataFolder) -> None:
    (three.heads / "trees/versions/0002/head.safetensors").write_bytes(b"junk")
    with pytest.raises(DamagedFile, match="0002 is damaged"):
        promote("trees", 2, three)
    assert serving_version("trees", three) == 1


def test_a_damaged_pointer_says_what_to_do(three: DataFolder) -> None:
    (three.heads / "trees/serving").write_text("second")
    with pytest.raises(DamagedFile, match=r"serving is damaged .*: remove it.*heads promote trees"):
        load_head("trees", three)


def test_what_fails_while_it_is_written_leaves_no_version(three: DataFolder) -> None:
    def fail(_: Path) -> None:
        raise OSError(28, "full")

    with pytest.raises(InvalidArgument, match="nothing was changed"):
        save_head(head(), three, files={"report.html": fail}, promote=True)
    assert versions("trees", three) == [1, 2, 3]
    assert serving_version("trees", three) == 1


def test_what_is_published_with_a_version_lies_beside_it(store: DataFolder) -> None:
    saved = save_head(head(), store, files={"report.html": lambda file: file.write_text("<p>")})
    assert (saved.path / "report.html").read_text() == "<p>"


def test_what_the_figures_are_of_is_kept_when_it_is_another_model(store: DataFolder) -> None:
    other = head(-1).model
    first, second = (save_head(head(), store, tested=tested).path for tested in (other, None))
    assert np.array_equal(read_tested(first).scores(X), other.scores(X))
    assert np.array_equal(read_tested(second).scores(X), head().model.scores(X))


def test_writers_at_the_same_time_make_a_version_each(store: DataFolder) -> None:
    several = [threading.Thread(target=save_head, args=(head(), store)) for _ in range(6)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert versions("trees", store) == [1, 2, 3, 4, 5, 6]


def test_who_serves_takes_a_new_version_and_reads_none_twice(three: DataFolder) -> None:
    heads = ServedHeads(three)
    assert not heads.is_ready("trees")
    version, first = heads.serving("trees")
    assert (version, heads.serving("trees")[1]) == (1, first)
    assert heads.is_ready("trees")
    promote("trees", 2, three)
    assert not heads.is_ready("trees")
    version, second = heads.serving("trees")
    assert version == 2
    assert second is not first
    assert heads.serving("trees")[1] is second
    save_head(replace(head(), rejection=None), three)
    assert heads.serving("trees")[1] is second
    rollback("trees", three)
    assert heads.serving("trees")[0] == 1
    delete("trees", data=three)
    with pytest.raises(NotFound):
        heads.serving("trees")
