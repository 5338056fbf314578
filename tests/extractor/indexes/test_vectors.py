"""What is checked of queries before anything is compared."""

import numpy as np
import pytest

from extractor.errors import InvalidArgument
from extractor.indexes import checked_k, unit


@pytest.mark.parametrize("bad", [[[1, 2], [3]], ["abc"], [[None, object()]], [[1, 2, 3]]])
def test_what_are_no_vectors_is_refused_with_a_sentence(bad: object) -> None:
    """Whatever it is: rows of several lengths, texts, other things."""
    with pytest.raises(InvalidArgument, match=r"expected vectors of shape \(n, 2\)"):
        unit(bad, 2)  # type: ignore[arg-type]


def test_k_is_any_whole_number_and_becomes_a_plain_one() -> None:
    """FAISS takes no other."""
    assert type(checked_k(np.int64(3))) is int  # type: ignore[arg-type]
    assert checked_k(np.uint8(3)) == 3  # type: ignore[arg-type]
    for bad in (0, -1, 2.5, 10.0, "3", None):
        with pytest.raises(InvalidArgument, match="whole number of at least 1"):
            checked_k(bad)  # type: ignore[arg-type]
