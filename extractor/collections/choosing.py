"""Which kind of index a collection gets, from its settings and its size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from extractor.collections.metadata import Json
from extractor.collections.store import Reader, Store
from extractor.errors import InvalidArgument
from extractor.indexes.kinds import KINDS, checked_kind
from extractor.indexes.segments import Kind

AUTO = "auto"


class Choice(NamedTuple):
    """A kind, and why, in one line."""

    kind: Kind
    reason: str


class Choosing:
    """Chooses by the settings that the store keeps.

    They are a mapping: `kind` is "auto", or a kind of index by its name.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._settings = store.meta.settings

    @staticmethod
    def checked(settings: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the settings; raise InvalidArgument when they mean nothing."""
        for name, value in settings.items():
            if name != "kind":
                raise InvalidArgument(f"an index has no setting {name!r}; there is: kind")
            if value not in (AUTO, *KINDS):
                raise InvalidArgument(
                    f"there is no kind of index {value!r}; there are: auto, {', '.join(KINDS)}"
                )
        return settings

    def refresh(self, reader: Reader) -> None:
        """Take the settings as they are now: another process may have changed them."""
        self._settings = reader.meta().settings

    def choice(self, count: int) -> Choice:
        """The kind for so many items, and why."""
        kind = str(self._settings.get("kind", AUTO))
        if kind != AUTO:
            return Choice(checked_kind(kind), f"{kind}: as it was set")
        return Choice("exact", f"exact: {count:,} items")

    def kind(self, count: int) -> Kind:
        """The kind for so many items."""
        return self.choice(count).kind

    def at_once(self, count: int) -> Kind:
        """The kind to begin with, as fast as the store can be read."""
        kind = self.kind(count)
        return kind if kind.startswith("exact") else "exact-fp16"
