"""Elements to bytes and back, as the Open Inference Protocol writes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from extractor.errors import InvalidArgument
from extractor.kserve import tensors


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_what_is_joined_is_what_a_client_reads(elements: list[bytes]) -> None:
    """By tritonclient's own code."""
    assert list(deserialize_bytes_tensor(tensors.join(elements))) == elements


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_what_a_client_writes_is_split_again(elements: list[bytes]) -> None:
    """Empty elements included."""
    written = serialize_byte_tensor(np.array(elements, dtype=np.object_)).item()
    assert tensors.split("image", written, len(elements)) == elements


@given(st.binary(max_size=40), st.integers(0, 5))
def test_bytes_are_split_wholly_or_refused(data: bytes, count: int) -> None:
    """Nothing of them is ever left out, or made up."""
    try:
        elements = tensors.split("image", data, count)
    except InvalidArgument:
        return
    assert len(elements) == count
    assert tensors.join(elements) == data


@pytest.mark.parametrize(
    ("data", "count", "sentence"),
    [
        (b"\2\0\0\0ab", 2, "only 1"),
        (b"\2\0\0\0ab", 0, "more than 0"),
        (b"\2\0\0\0ab\0\0\0\0", 1, "more than 1"),
        (b"\2\0\0\0ab\3\0\0\0ab", 2, "element 1 of 'image' is cut short"),
        (b"\2\0\0", 1, "element 0 of 'image' is cut short"),
        (b"\xff\xff\xff\xffab", 1, "ends after 6"),
        (b"", 1, "only 0"),
    ],
)
def test_the_sentence_says_what_is_wrong(data: bytes, count: int, sentence: str) -> None:
    """With the numbers."""
    with pytest.raises(InvalidArgument, match=sentence):
        tensors.split("image", data, count)
