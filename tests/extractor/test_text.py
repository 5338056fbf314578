"""Whatever a file is called, its name can be printed and stored."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extractor.text import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xc3\xa9 \xf0\x9f\x90\x88.png", "café 🐈.png"),
        (b"a\xff\nb.png", r"a\xff\nb.png"),
        (b"\x1b[31mred\r", r"\x1b[31mred\r"),
        ("one\u2028two\x85".encode(), r"one\u2028two\x85"),
    ],
)
def test_a_name_is_shown_on_one_line(name: bytes, shown: str) -> None:
    """Letters of any script stay as they are; what would break a line or a terminal is written out."""
    assert printable(os.fsdecode(name)) == shown


@given(st.text(st.characters(codec=None)))
@example("\ud800 alone")
def test_any_text_becomes_one_line_of_unicode(text: str) -> None:
    """Also halves of surrogate pairs; and nothing is escaped twice."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown == printable(shown)
