"""What can be said of a collection as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from extractor.collections.generations import Snapshot
from extractor.collections.metadata import Json
from extractor.collections.saved import Manifest
from extractor.collections.searching import EXACT
from extractor.indexes.kinds import effective


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What stands between a query and a scan of all vectors.

    Attributes
    ----------
    kind : str
        Of most items: "exact", "exact-fp16", "ivf" or "hnsw"; that of all that are to
        come while there is no segment.
    reason : str
        Why this kind, in one line.
    recall : float or None
        Recall@10 against an exact search; the lowest of all segments, measured on the collection's
        own vectors. What has not been measured, since it is compared one by one, finds all: 1.0.
        None while the index that is to come is approximate, and so not known.
    segments : int
    tail : int
        Items that are compared one by one beside the segments, or will be at the next search.
    deleted : int
        Places in memory whose items are gone.
    nbytes : int
        What the segments and the tail take in memory; mapped files count as well.
    """

    kind: str
    reason: str
    recall: float | None
    segments: int
    tail: int
    deleted: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Info:
    """A collection, as it was when it was asked.

    Attributes
    ----------
    name : str
    count : int
        Items.
    bytes : int
        On disk, without the index.
    fingerprint, backbone : str
    dim : int
    thumbnails : int
        Pixels of the longer side; 0 when none are kept.
    labels : dict
        How many items have each label; None counts those without.
    settings : mapping
        How its index is to be made; empty for the defaults.
    index : IndexInfo
    """

    name: str
    count: int
    bytes: int
    fingerprint: str
    backbone: str
    dim: int
    thumbnails: int
    labels: Mapping[str | None, int]
    settings: Mapping[str, Json]
    index: IndexInfo


def index_in_memory(snapshot: Snapshot, count: int, chosen: str, reason: str) -> IndexInfo:
    """Of a collection of `count` items that has been searched."""
    parts = snapshot.parts
    return IndexInfo(
        kind=max(parts, key=len).segment.kind if parts else chosen,
        reason=reason,
        recall=_recall(
            [(part.segment.kind, part.recall) for part in parts] or [(effective(chosen, count), None)]
        ),
        segments=len(parts),
        tail=count - sum(map(len, parts)),
        deleted=sum(len(part.dead) for part in (*parts, snapshot.tail.part)),
        nbytes=sum(part.segment.nbytes for part in (*parts, snapshot.tail.part)),
    )


def index_on_disk(manifest: Manifest | None, count: int, chosen: str, reason: str) -> IndexInfo:
    """Of a collection that has not been searched yet: what its saved index says of itself."""
    parts = manifest.parts if manifest else []
    saved = sum(part.items for part in parts)
    return IndexInfo(
        kind=max(parts, key=lambda part: part.items).kind if parts else chosen,
        reason=reason,
        recall=_recall([(part.kind, part.recall) for part in parts] or [(effective(chosen, count), None)]),
        segments=len(parts),
        tail=max(0, count - saved),
        deleted=max(0, saved - count),
        nbytes=0,
    )


def _recall(found: Sequence[tuple[str, float | None]]) -> float | None:
    """The lowest of some kinds' recall; not measured, that of an exact one is 1 by construction."""
    known = [1.0 if recall is None and kind in EXACT else recall for kind, recall in found]
    measured = [recall for recall in known if recall is not None]
    return min(measured) if len(measured) == len(known) else None
