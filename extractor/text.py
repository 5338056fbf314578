"""Names and sentences as text that can be printed and stored anywhere, on one line."""

from __future__ import annotations

import re

# Control characters, line ends, and the halves of pairs that stand for a file name's stray bytes.
_ODD = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: object) -> str:
    r"""What `str(text)` says, on one line of valid Unicode; the rest is written as `\n`, `\x1b`, `\xff`.

    Linux allows any bytes in a file's name but `/` and zero.
    """
    return _ODD.sub(_escaped, str(text))


def counted(count: int, thing: str) -> str:
    """Such as `1 image` and `2,088 images`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _escaped(odd: re.Match[str]) -> str:
    number = ord(odd[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name that is not UTF-8, as Python reads it
        return f"\\x{number - 0xDC00:02x}"
    return odd[0].encode("unicode_escape").decode()
