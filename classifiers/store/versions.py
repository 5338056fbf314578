"""The versions of a head: which there are, and which of them answers.

```
heads/NAME/versions/0001/   head.safetensors, manifest.json, rows.parquet, ...
heads/NAME/serving          the versions that were promoted, one a line, the last one answers
heads/NAME/given            the highest number that was given, once a version was deleted
```

A version never changes once it is there, and its number is never given again. Without `serving` the
first answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from classifiers.heads import IMAGENET, Head, imagenet_head
from classifiers.layers import Model
from classifiers.store.bundle import read_facts, read_head, read_tested, write_head
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.folders import (
    locked,
    publish_folder,
    publishing,
    read_folder,
    refusals,
    remove_folder,
    sync_folder,
)
from extractor.settings import DEFAULT_BACKBONE, DataFolder, checked_name

SERVING = "serving"
GIVEN = "given"
VERSIONS = "versions"

MOST_NAMED = 10
"""Heads that are named where one is not there."""

Content = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Saved:
    """A version that was written: its number, its folder, and the one that answers."""

    version: int
    path: Path
    serving: int


def head_path(name: str, data: DataFolder | None = None) -> Path:
    """Where the head `name` is, or will be, with all its versions.

    Raises
    ------
    InvalidArgument
        When the name cannot be one of a head that is fitted here.
    """
    if checked_name("head", name) == IMAGENET:
        raise InvalidArgument(
            f"the name {IMAGENET!r} is taken by the backbone's own head: choose another name"
        )
    return (data or DataFolder.default()).heads / name


def version_path(name: str, version: int, data: DataFolder | None = None) -> Path:
    """Where one version is, or will be; errors as of `head_path`."""
    return head_path(name, data) / VERSIONS / f"{version:04}"


def save_head(
    head: Head,
    data: DataFolder | None = None,
    *,
    tested: Model | None = None,
    files: Mapping[str, Content] | None = None,
    promote: bool = False,
) -> Saved:
    """Write `head` as a new version of its name, in one step; the first answers at once.

    Parameters
    ----------
    head : Head
    data : DataFolder, optional
        By default the one of the command line.
    tested : Model, optional
        What its figures are of, when it is not the head's own model.
    files : mapping of str to callable, optional
        What is published beside it, such as a report: by name, what writes the
        file at the path it is given.
    promote : bool
        Let it answer from now on.

    Raises
    ------
    InvalidArgument
        When the name cannot be used, or the folder cannot be written.
    """
    name = head.manifest.name
    path = head_path(name, data)

    def write(folder: Path) -> None:
        write_head(folder, head, tested)
        for file, content in (files or {}).items():
            content(folder / checked_name("file", file))

    with refusals(path):
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            _history(path)  # one that cannot be read is said before anything is written
            version = _highest(path) + 1
            publish_folder(version_path(name, version, data), write)
            if promote:
                _let_answer(name, version, data)
    return Saved(version, version_path(name, version, data), serving_version(name, data))


def load_head(
    name: str,
    data: DataFolder | None = None,
    *,
    version: int | None = None,
    backbone: str = DEFAULT_BACKBONE,
) -> Head:
    """Read the head `name`.

    Parameters
    ----------
    name : str
        A head that was fitted, or "imagenet".
    data : DataFolder, optional
        By default the one of the command line.
    version : int, optional
        By default the one that answers.
    backbone : str
        Whose classifier the head "imagenet" is.

    Raises
    ------
    NotFound
        When there is no such head or version.
    DamagedFile
        When it is not what was written.
    """
    data = data or DataFolder.default()
    if name == IMAGENET:
        from extractor.backbones.bundle import Bundle

        return imagenet_head(Bundle.of(data, backbone))
    return read_folder(folder_of(name, data, version), read_head)


def folder_of(name: str, data: DataFolder, version: int | None = None) -> Path:
    """The folder of a version that is there, by default of the one that answers; errors as of `load_head`."""
    number = serving_version(name, data) if version is None else version
    found = versions(name, data)
    if number not in found:
        listed = ", ".join(map(str, found))
        raise NotFound(f"the head {name!r} has no version {number}: it has {listed}")
    return version_path(name, number, data)


def load_tested(name: str, data: DataFolder, version: int | None = None) -> Model:
    """What a version's figures are of; errors as of `load_head`."""
    return read_tested(folder_of(name, data, version))


def check_head(name: str, data: DataFolder) -> None:
    """Raise as `load_head` does."""
    load_head(name, data)


def head_names(data: DataFolder) -> list[str]:
    """The heads that were fitted, in order."""
    folders = data.heads.glob("[!.]*")
    return sorted(folder.name for folder in folders if _numbers(folder) or _is_old(folder))


def versions(name: str, data: DataFolder | None = None) -> list[int]:
    """The versions that are there, in order; none for a head that is not."""
    return _numbers(head_path(name, data))


def facts_of(name: str, data: DataFolder, version: int, *, whole: bool = False) -> dict[str, object]:
    """A version's manifest as plain values, as of `read_facts`; errors as of `load_head`."""
    return read_folder(folder_of(name, data, version), partial(read_facts, whole=whole))


def serving_version(name: str, data: DataFolder | None = None) -> int:
    """Which version answers.

    Raises
    ------
    NotFound
        When there is no such head.
    DamagedFile
        When it was saved before heads had versions, or `serving` was changed.
    """
    data = data or DataFolder.default()
    path, found = head_path(name, data), versions(name, data)
    if not found:
        raise _absent(path, data)
    promoted = [version for version in _history(path) if version in found]
    return promoted[-1] if promoted else found[0]


def lost_promotion(name: str, data: DataFolder) -> int | None:
    """The version that should answer but is not there; errors as of `promote`."""
    history = _history(head_path(name, data))
    return history[-1] if history and history[-1] not in versions(name, data) else None


def promote(name: str, version: int | None = None, data: DataFolder | None = None) -> int:
    """Let a version answer, by default the newest; the one that did can be rolled back to.

    Returns
    -------
    int
        The version.

    Raises
    ------
    NotFound
        When there is no such head or version.
    DamagedFile
        When the version is not what was written: it would answer nothing.
    """
    data = data or DataFolder.default()
    path = head_path(name, data)
    serving_version(name, data)
    with refusals(path), locked(path):
        number = versions(name, data)[-1] if version is None else version
        load_head(name, data, version=number)
        _let_answer(name, number, data)
    return number


def rollback(name: str, data: DataFolder | None = None) -> int:
    """Let the version answer that did before the last promotion; errors as of `promote`.

    Raises
    ------
    InvalidArgument
        When there is none.
    """
    data = data or DataFolder.default()
    path = head_path(name, data)
    now = serving_version(name, data)
    with refusals(path), locked(path):
        there = versions(name, data)
        history = [version for version in _history(path) if version in there]
        while history and history[-1] == now:
            history.pop()
        if not history:
            raise InvalidArgument(
                f"the head {name!r} has no promotion left to go back on: version {now} answers, and another "
                f"does after `penultimate heads promote {name} --version N`"
            )
        load_head(name, data, version=history[-1])
        _write_numbers(path / SERVING, history)
    return history[-1]


def delete(name: str, version: int | None = None, data: DataFolder | None = None) -> None:
    """Remove one version, or the head with all of them.

    Raises
    ------
    NotFound
        When there is no such head or version.
    InvalidArgument
        When the version is the one that answers.
    """
    data = data or DataFolder.default()
    path = head_path(name, data)
    if version is None:
        if not path.is_dir():
            raise _absent(path, data)
        remove_folder(path)
        return
    with refusals(path), locked(path):
        if version == serving_version(name, data):
            raise InvalidArgument(
                f"version {version} of the head {name!r} is the one that answers: promote another first, "
                f"or delete the head with all its versions (`penultimate heads delete {name}`)"
            )
        folder = folder_of(name, data, version)
        _write_numbers(path / GIVEN, [_highest(path)])  # before the number is free, or a kill would free it
        remove_folder(folder)


def _let_answer(name: str, version: int, data: DataFolder | None) -> None:
    path = head_path(name, data)
    history = _history(path) or [serving_version(name, data)]
    if version != history[-1]:
        _write_numbers(path / SERVING, [*history, version])


def _history(path: Path) -> list[int]:
    """The versions that were promoted, the last one last; a version is in it again when it was again."""
    advice = f"the first version answers, then `penultimate heads promote {path.name}`"
    return _read_numbers(path / SERVING, advice)


def _highest(path: Path) -> int:
    """The highest number that a version was ever given; 0 when none was."""
    given = _read_numbers(path / GIVEN, "the next version has the number after those that are there")
    return max([*given, *_numbers(path)], default=0)


def _read_numbers(file: Path, otherwise: str) -> list[int]:
    try:
        return [int(line) for line in file.read_text(encoding="utf-8").split()]
    except FileNotFoundError:
        return []
    except ValueError:
        raise DamagedFile(
            f"{file} is damaged (it has not one version a line): remove it, and {otherwise}"
        ) from None


def _write_numbers(file: Path, versions: list[int]) -> None:
    with publishing(file) as draft:
        draft.write_text("".join(f"{version:04}\n" for version in versions), encoding="utf-8")
    sync_folder(file.parent)


def _numbers(path: Path) -> list[int]:
    folders = (path / VERSIONS).glob("[0-9]*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and folder.is_dir())


def _is_old(path: Path) -> bool:
    """Whether it was saved before heads had versions."""
    return (path / "manifest.json").exists()


def _absent(path: Path, data: DataFolder) -> NotFound | DamagedFile:
    name = path.name
    if _is_old(path):
        return DamagedFile(
            f"the head {name!r} was saved by an earlier penultimate, in a form that this one does not read: "
            f"fit it again with `fit-head SOURCE --name {name}`"
        )
    there = [IMAGENET, *head_names(data)]
    more = len(there) - MOST_NAMED
    listed = ", ".join(there[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
    # read on another machine, too: no path of this one, and no command of it
    return NotFound(
        f"there is no head {name!r} in the data folder, which has {listed}: choose one of these, or fit one "
        "under this name"
    )
