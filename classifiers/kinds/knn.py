"""The k nearest neighbours."""

from __future__ import annotations

from typing import ClassVar

from classifiers.kinds.base import Rows, Search, Setting
from classifiers.layers import Layer, Neighbours, Normalise
from extractor.errors import InvalidArgument

NUMBERS = (1, 3, 5, 10, 20, 50)
"""Of neighbours, that are tried."""


class Knn:
    """The kind: labelled rows vote by their cosine."""

    name: ClassVar[str] = "knn"
    title: ClassVar[str] = "k nearest neighbours"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = False
    default: ClassVar[Setting] = Setting(neighbours=5)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:  # noqa: ARG002 - there is one effort
        """See `Kind.fitter`.

        Raises
        ------
        InvalidArgument
            For several labels a row.
        """
        if rows.multi_label:
            raise InvalidArgument("knn gives one label to an image: choose another kind for several")
        return _Fitter(rows)

    def search(self, search: Search) -> Setting:
        """See `Kind.search`."""
        for number in NUMBERS:
            search(Setting(neighbours=number))
        return search.best()


class _Fitter:
    converged: bool = True

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._units = Normalise()(rows.X)

    def __call__(self, setting: Setting) -> Layer:
        assert setting.neighbours
        k = min(setting.neighbours, len(self._units))
        return Neighbours(self._units, self._rows.y, self._rows.classes, k)
