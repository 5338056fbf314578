"""The labelled items of a collection, whose vectors are there already."""

from __future__ import annotations

import hashlib

import numpy as np

from classifiers.data.dataset import Dataset
from classifiers.data.features import Features, gathered
from classifiers.data.labels import cleaned, joined, parted
from extractor.collections import Collection, Filter
from extractor.errors import InvalidArgument
from extractor.exploring.watching import Watch, unwatched


def from_collection(
    collection: Collection,
    where: Filter | None = None,
    *,
    multi_label: bool = False,
    watch: Watch = unwatched,
) -> tuple[Features, int]:
    """The items of a collection that have a label, as they are at one moment; nothing is embedded.

    Parameters
    ----------
    collection : Collection
    where : Filter, optional
        Which items.
    multi_label : bool
        Labels have `|` between several of one image.
    watch : Watch
        Is shown the items.

    Returns
    -------
    Features
    int
        How many items have no label.

    Raises
    ------
    InvalidArgument
        When none has a label, or the filter compares a field that no item has.
    """
    collection.require_fields(where)
    labelled = Filter.parse(f"({where.text}) and label is not null" if where else "label is not null")
    rows, images, labels, digests = [], [], [], []
    seen = sum(1 for _ in collection.items(where))
    for item in watch(collection.items(labelled, vectors=True), seen, "read", " items"):
        label = cleaned(item.label)
        rows.append(np.asarray(item.vector, np.float32))
        images.append(item.file.source if item.file else item.id)
        labels.append(joined(parted(label)) if multi_label else label)
        digests.append(item.digest.hex() or hashlib.sha256(rows[-1].tobytes()).hexdigest())
    if not rows:
        raise InvalidArgument(
            f"no item of the collection {collection.name!r} that is meant has a label: give them with "
            f"`penultimate collections set {collection.name} ID... --label LABEL`"
        )
    dataset = Dataset(images, labels, multi_label=multi_label)
    features = gathered(dataset, np.stack(rows), digests, collection.fingerprint)
    return features, seen - len(rows)
