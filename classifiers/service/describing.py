"""What there is: heads and their versions, as their manifests say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from classifiers.heads import Head
from classifiers.store.versions import facts_of, head_names, serving_version, versions
from extractor.errors import DamagedFile, PenultimateError
from extractor.heads_wire.values import HeadInfo, HeadVersion
from extractor.settings import DataFolder

_SAME = ("kind", "classes", "fingerprint", "backbone", "dim", "created", "metrics")
"""Of a manifest, and of a `HeadVersion`."""

_OF_CLASSES = ("classes", "confusion")
"""Of the metrics."""


def describe(name: str, data: DataFolder, version: int | None = None) -> HeadInfo:
    """One head, without the versions of it that are damaged.

    Parameters
    ----------
    name : str
    data : DataFolder
    version : int, optional
        Which has to be whole, by default the one that answers.

    Raises
    ------
    NotFound, DamagedFile
        As `serving_version`, and as `facts_of` of that version.
    """
    serving, found = serving_version(name, data), []
    for number in versions(name, data):
        try:
            found.append(_version(name, number, data))
        except DamagedFile:
            if number == (version or serving):
                raise
    return HeadInfo(name, serving, found)


def describe_own(head: Head) -> HeadInfo:
    """The backbone's own head, which has one version, of the number 0."""
    manifest = head.manifest
    facts = {field: getattr(manifest, field) for field in _SAME}
    return HeadInfo(manifest.name, 0, [HeadVersion(version=0, **facts)])


def describe_all(data: DataFolder) -> Iterator[HeadInfo]:
    """All that can be read, each without the figures of its classes, which would fill messages.

    One that is damaged says so when it is asked for by name.
    """
    for name in head_names(data):
        with suppress(PenultimateError):
            found = describe(name, data)
            yield replace(found, versions=[_short(each) for each in found.versions])


def _short(version: HeadVersion) -> HeadVersion:
    """Its figures without tables, which grow with the classes and their squares."""
    figures = {name: value for name, value in version.metrics.items() if name not in _OF_CLASSES}
    return replace(version, metrics=figures)


def _version(name: str, number: int, data: DataFolder) -> HeadVersion:
    facts = facts_of(name, data, number)
    given = {field: facts[field] for field in _SAME if field in facts}
    return HeadVersion(version=number, **given)  # type: ignore[arg-type]
