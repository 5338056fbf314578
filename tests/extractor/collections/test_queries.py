"""One query from several examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from extractor.collections.queries import compose_query
from extractor.errors import InvalidArgument

X, Y, Z = np.eye(3, dtype=np.float32)


def test_a_single_example_is_the_query_itself() -> None:
    """To the bit, so that nothing is scaled twice."""
    vector = np.array([0.1, 0.2, 0.3], np.float32)
    assert compose_query([vector]) is vector


def test_each_example_counts_alike_whatever_its_length() -> None:
    """As its direction, so that one bright photo does not drown the others."""
    np.testing.assert_allclose(compose_query([100 * X, 0.01 * Y]), [0.5, 0.5, 0], atol=1e-7)
    np.testing.assert_allclose(compose_query([X, X, Y]), [2 / 3, 1 / 3, 0], atol=1e-7)


def test_the_average_of_what_is_unlike_is_taken_away() -> None:
    """As much as that of what is like is added, however many there are of each."""
    np.testing.assert_allclose(compose_query([X], [5 * Y]), [1, -1, 0], atol=1e-7)
    np.testing.assert_allclose(compose_query([X, Y], [Z, Z, 3 * Z]), [0.5, 0.5, -1], atol=1e-7)


@pytest.mark.parametrize(
    ("like", "unlike", "said"),
    [
        ([], [X], "at least one example"),
        ([X, np.ones(4, np.float32)], [], "must all have 3 values"),
        ([X], [np.ones(2, np.float32)], "must all have 3 values"),
        ([X, np.zeros(3, np.float32)], [], "no direction"),
        ([X, np.full(3, np.nan, np.float32)], [], "no direction"),
        ([X], [7 * X], "cancel each other out"),
        ([X, -X], [], "cancel each other out"),
    ],
)
def test_examples_that_make_no_query_are_refused(like: Any, unlike: Any, said: str) -> None:
    """In a sentence, rather than searched with noise."""
    with pytest.raises(InvalidArgument, match=said):
        compose_query(like, unlike)
