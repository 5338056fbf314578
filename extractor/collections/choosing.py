"""Which kind of index a collection gets: from its settings, and its size."""

from __future__ import annotations

from collections.abc import Mapping

from extractor.collections.metadata import Json
from extractor.collections.store import Reader, Store
from extractor.errors import InvalidArgument
from extractor.indexes.choice import Budget, Choice, choose
from extractor.indexes.kinds import LEAST_APPROXIMATE, checked_kind, effective
from extractor.indexes.segments import Kind

AUTO = "auto"

_SETTINGS = ("kind", "latency_ms", "memory")


class Choosing:
    """Chooses by the settings that the store keeps: a mapping of any of

    - `kind`: "auto", or a kind of index by its name;
    - `latency_ms`: what one query may take, for "auto";
    - `memory`: what the index may take, in bytes, for "auto".

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._dim, self._settings = store.meta.dim, store.meta.settings

    @staticmethod
    def checked(settings: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the settings; raise InvalidArgument when they mean nothing."""
        for name in settings:
            if name not in _SETTINGS:
                raise InvalidArgument(f"an index has no setting {name!r}; there are: {', '.join(_SETTINGS)}")
        kind = settings.get("kind", AUTO)
        if kind != AUTO:
            checked_kind(str(kind))
        _budget(settings)
        return settings

    def refresh(self, reader: Reader) -> None:
        """Take the settings as they are now: another process may have changed them."""
        self._settings = reader.meta().settings

    def choice(self, count: int) -> Choice:
        """The kind for so many items, and why, in one line."""
        kind = str(self._settings.get("kind", AUTO))
        if kind == AUTO:
            return choose(count, self._dim, _budget(self._settings))
        set_so = f"{kind}: as it was set for this collection"
        if (now := effective(kind, count)) != kind:
            set_so = f"{now}: so few vectors are compared one by one; from {LEAST_APPROXIMATE:,} on {set_so}"
        return Choice(checked_kind(kind), set_so)

    def kind(self, count: int) -> Kind:
        """The kind for so many items."""
        return self.choice(count).kind

    def at_once(self, count: int) -> Kind:
        """The kind to begin with, built as fast as the store can be read."""
        kind = self.kind(count)
        return kind if kind == "exact" else "exact-fp16"


def _budget(settings: Mapping[str, Json]) -> Budget:
    given = {name: settings[name] for name in ("latency_ms", "memory") if name in settings}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidArgument(f"the setting {name!r} of an index must be a number, not {value!r}")
    return Budget(**given)  # type: ignore[arg-type]  # numbers, as was just seen
