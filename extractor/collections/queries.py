"""One query from several examples: what is wanted, averaged, less what is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from extractor.errors import InvalidArgument
from extractor.indexes import has_direction, unit
from extractor.results import Vector


def compose_query(like: Sequence[Vector], unlike: Sequence[Vector] = ()) -> Vector:
    """The vector to search with for what is like some examples, and unlike others.

    Each example counts alike, whatever its length: it is scaled to length one,
    and the average of the second is taken from the average of the first.

    Parameters
    ----------
    like : sequence of float32 arrays of shape (dim,)
        One at least. A single one, with nothing else, is the query itself.
    unlike : sequence of float32 arrays of shape (dim,)

    Returns
    -------
    float32 array of shape (dim,)
        Not of length one.

    Raises
    ------
    InvalidArgument
        When there is no example to be like, one has another width than the
        first or no direction, or they cancel each other out.
    """
    if not like:
        raise InvalidArgument("a query needs at least one example to be like")
    if len(like) == 1 and not unlike:
        return like[0]
    dim = len(like[0])
    query = _mean(like, dim) - (_mean(unlike, dim) if unlike else 0)
    if not has_direction(query[None])[0] or np.linalg.norm(query) < 1e-6:
        raise InvalidArgument("the examples cancel each other out: nothing is left to search with")
    return query.astype(np.float32)


def _mean(examples: Sequence[Vector], dim: int) -> Vector:
    for example in examples:
        if example.shape != (dim,):
            raise InvalidArgument(
                f"the examples of a query must all have {dim} values, and one has the shape {example.shape}"
            )
    mean: Vector = unit(np.stack(examples), dim).mean(axis=0, dtype=np.float64)
    return mean
