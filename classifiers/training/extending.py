"""From a folder of images of a new class to a new version of a head that knows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from classifiers.adding import Extended, add_class
from classifiers.data.dataset import Dataset, Rejected
from classifiers.data.features import Features
from classifiers.store.publishing import Published
from classifiers.store.records import FILE, Rows
from classifiers.store.versions import folder_of, load_head, save_head
from extractor.errors import InvalidArgument
from extractor.results import Embeds
from extractor.settings import DataFolder
from extractor.sources import find

FOUND = 0.5
"""The share of a new class's own images that a head has to find, without a warning."""

Embedded: TypeAlias = "Callable[[Embeds, Dataset], Features]"


@dataclass(frozen=True, slots=True)
class Extension:
    """A head that learned a class, as a version, and what was left out of its images."""

    label: str
    extended: Extended
    published: Published
    rejected: list[Rejected]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        did = self.extended
        return {
            "name": self.published.name,
            "added": self.label,
            "classes": did.head.manifest.classes,
            "exact": did.exact,
            "rows": did.rows,
            "found": did.found,
            "kept": did.kept,
            "taken": did.taken,
            "thresholds": did.thresholds and dict(zip(("before", "now"), did.thresholds, strict=True)),
            "path": str(self.published.saved.path),
            **self.published.to_dict(),
            "seconds": self.seconds,
            "rejected": [{"image": each.image, "reason": each.reason} for each in self.rejected],
        }

    def lines(self) -> list[str]:
        """For a person."""
        did = self.extended
        how = (
            "as a fit on all images would, with the scaling kept"
            if did.exact
            else "the others kept as they were"
        )
        return [
            f"{self.published.name}: {self.label!r} added from {did.rows:,} images in {self.seconds:.2f} s; "
            + how,
            f"{did.found:,} of these {did.rows:,} are taken for {self.label!r} now, and {did.taken:,} of "
            f"{did.kept:,} images of the earlier classes; no held-out figures: fit again for those",
            *self._doubts(),
            f"saved to {self.published.saved.path}",
            *self.published.lines(),
        ]

    def _doubts(self) -> Iterator[str]:
        """A class that the head does not find among its own images is hardly learnt, nor one of all sorts."""
        did = self.extended
        if did.found < FOUND * did.rows:
            yield (
                f"warning: the head takes most images of {self.label!r} for other classes. Are all images in "
                "SOURCE and its sub-folders of this one class? If so, fit again on all images"
            )
        if did.thresholds and did.is_looser:
            before, now = did.thresholds
            yield (
                f"warning: an image is unknown above the distance {now:.3g} now, and was above {before:.3g}: "
                f"so far are the images of {self.label!r} from their mean. Much that was unknown is given a "
                "class. Are they all of one kind? If so, more images of it make the distance more certain"
            )


def extend(
    name: str,
    label: str,
    source: Path,
    embeds: Embeds,
    data: DataFolder,
    *,
    promote: bool = False,
    embedded: Embedded,
) -> Extension:
    """Add the class `label`, whose images are in the folder `source`, to the head that answers.

    Parameters
    ----------
    name, label : str
    source : Path
        A folder of images, all of the class.
    embeds : Embeds
    data : DataFolder
    promote : bool
        Let the new version answer from now on.
    embedded : callable
        Embeds a data set.

    Raises
    ------
    NotFound, InvalidArgument
        When there is no such head or folder, or the head cannot learn the class.
    FingerprintMismatch
        When `embeds` has another backbone than the head.
    """
    head, folder = load_head(name, data), folder_of(name, data)
    head.check(embeds)
    if not label.strip():
        raise InvalidArgument("a class needs a name: --add-class NAME")
    images = list(find([str(source)]))
    features = embedded(embeds, Dataset(images, [label] * len(images)))
    begun = time.perf_counter()
    extended = add_class(head, label, features.X)
    if extended.exact and "augment" in head.manifest.fitting:
        raise InvalidArgument(
            f"the head {name!r} was fitted on augmented views, too, of which it keeps nothing that a head of "
            "its kind could be made of again: fit it with the new class, and --augment "
            + ",".join(head.manifest.fitting["augment"])
        )
    seconds = round(time.perf_counter() - begun, 3)
    rows = Rows.read(folder).with_class(features)
    saved = save_head(extended.head, data, files={FILE: rows.write}, promote=promote)
    return Extension(label, extended, Published(name, saved), features.rejected, seconds)
