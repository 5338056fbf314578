"""Changes to items that leave their vectors, and so their numbers, as they are: many in one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from extractor.collections import rows
from extractor.collections.item import KEEP, FileStamp, Keep
from extractor.collections.metadata import Json
from extractor.collections.store import Store


@dataclass(frozen=True, slots=True)
class Revision:
    """What becomes of one item.

    Attributes
    ----------
    id : str
    file : FileStamp or None
        Its new stamp; None leaves the old one.
    label : str, None or KEEP
        None takes the label away.
    metadata : mapping
        Its keys are set; those that are None are removed; others stay.
    """

    id: str
    file: FileStamp | None = None
    label: str | Keep | None = KEEP
    metadata: Mapping[str, Json] = field(default_factory=dict)


def revise(store: Store, revisions: Iterable[Revision]) -> int:
    """Make changes, all in one commit; return how many of the items there were.

    Raises
    ------
    InvalidArgument
        When a label or what the metadata becomes cannot be stored.
    Unavailable
        When the collection cannot be written.
    """
    with store.writing() as db:
        return sum(rows.change(db, it.id, it.label, it.metadata, it.file) for it in revisions)
