"""The nearest class mean: for a handful of labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from classifiers.kinds.base import Rows, Search, Setting
from classifiers.layers import Layer, Linear, Normalise
from extractor.errors import InvalidArgument


class NearestMean:
    """The kind: the cosine to the mean direction of each class."""

    name: ClassVar[str] = "nearest-mean"
    title: ClassVar[str] = "nearest class mean"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = False
    default: ClassVar[Setting] = Setting()

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:  # noqa: ARG002 - there is one effort
        """See `Kind.fitter`.

        Raises
        ------
        InvalidArgument
            For several labels a row.
        """
        if rows.multi_label:
            raise InvalidArgument("nearest-mean gives one label to an image: choose another kind for several")
        return _Fitter(rows)

    def search(self, search: Search) -> Setting:
        """There is nothing to choose, but its loss is wanted."""
        search(self.default)
        return self.default


class _Fitter:
    converged: bool = True

    def __init__(self, rows: Rows) -> None:
        member = rows.membership.astype(np.float32) * rows.weights.astype(np.float32)[:, None]
        self._means = Normalise()((member.T @ Normalise()(rows.X)).astype(np.float32))

    def __call__(self, setting: Setting) -> Layer:  # noqa: ARG002 - there is nothing to set
        return Linear(self._means, np.zeros(len(self._means), np.float32))
