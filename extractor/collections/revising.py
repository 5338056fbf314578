"""Changes to items that leave their vectors, and so their numbers, as they are: many in one commit."""

from __future__ import annotations

import sqlite3
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
    new_id : str
        What it is called from now on; empty for as before.
    label : str, None or KEEP
        None takes the label away.
    metadata : mapping
        Its keys are set; those that are None are removed; others stay.
    """

    id: str
    file: FileStamp | None = None
    label: str | Keep | None = KEEP
    metadata: Mapping[str, Json] = field(default_factory=dict)
    new_id: str = ""


def revise(store: Store, revisions: Iterable[Revision]) -> list[bool]:
    """Make changes, all in one commit; say of each whether it could be made.

    One cannot when there is no such item, or the id that it is to have is another's.

    Raises
    ------
    InvalidArgument
        When a label or what the metadata becomes cannot be stored.
    Unavailable
        When the collection cannot be written.
    """
    with store.writing() as db:
        return [_revised(db, revision) for revision in revisions]


def _revised(db: sqlite3.Connection, revision: Revision) -> bool:
    if revision.new_id and not rows.rename(db, revision.id, revision.new_id):
        return False
    id = revision.new_id or revision.id
    return rows.change(db, id, revision.label, revision.metadata, revision.file)
