from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.data.labels import check_not_ids, cleaned, doubts, joined, parted
from extractor.errors import InvalidArgument


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" cat ", "cat"),
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "True"),
        (None, ""),
        (math.nan, ""),
        ("Zu\u0308rich", "Z\u00fcrich"),
        ("../a/b", "../a/b"),
        ("two\nlines", "two\\nlines"),
        (b"cat", "cat"),
        (["dog", " cat "], "cat|dog"),
        ([], "|"),
    ],
)
def test_whatever_a_label_was_it_is_one_line_of_text(value: object, text: str) -> None:
    assert cleaned(value) == text


@given(st.sets(st.text(st.characters(exclude_characters="|", exclude_categories=("Z", "C")), min_size=1)))
def test_several_labels_come_back_from_their_text(labels: set[str]) -> None:
    assert parted(joined(labels)) == sorted(labels)


def test_blanks_and_repetitions_between_labels_do_not_count() -> None:
    assert parted(" cat | dog||cat|") == ["cat", "dog"]


def test_a_class_for_nearly_every_image_is_taken_for_a_column_of_ids() -> None:
    pictures = [str(i) for i in range(40)]
    with pytest.raises(InvalidArgument, match=r"40 classes .* for 40 images.*column of ids"):
        check_not_ids([f"id {i}" for i in range(40)], pictures)
    check_not_ids([str(i // 2) for i in range(40)], pictures)
    check_not_ids(list("abcdefgh"), pictures[:8])


def test_measurements_capitals_and_unparted_labels_are_doubted() -> None:
    numbers = [f"{i / 7:.3f}" for i in range(1, 30)]
    assert "measures nothing" in doubts(numbers, multi_label=False)[0]
    assert doubts(["Cat", "cat", "dog"], multi_label=False) == [
        "the classes 'Cat' and 'cat' differ only in capitals"
    ]
    assert "--multi-label" in doubts(["a|b", "c"], multi_label=False)[0]
    assert doubts(["a|b", "1", "2", "0.5"], multi_label=True) == []


def test_what_looks_odd_is_escaped_once() -> None:
    (doubt,) = doubts([cleaned("a\x1b"), cleaned("A\x1b")], multi_label=False)
    assert doubt == r"the classes 'A\x1b' and 'a\x1b' differ only in capitals"
