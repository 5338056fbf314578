"""Small pictures inside the page, each once however often it is shown, bounded in number and bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

from classifiers.report.markup import tag, words
from extractor.exploring.pictures import small_jpeg
from extractor.settings import cores

SIDE = 112
"""Pixels of a picture's longer side."""

MOST = 500
"""Pictures in a page."""

MOST_BYTES = 3 * 2**20
"""Of all JPEGs in a page; the page has a third more, since they are written as text."""


class Pictures:
    """The pictures of a page, by what they are of.

    Parameters
    ----------
    wanted : iterable of (key, source)
        The most important first; a source is a JPEG or a path. What comes when
        the page is full, or cannot be read, is shown by its name.
    """

    def __init__(self, wanted: Iterable[tuple[Hashable, bytes | str | None]]) -> None:
        sources = list(dict(wanted).items())
        self.wanted = len(sources)
        self._numbers: dict[Hashable, int] = {}
        self._jpegs: list[bytes] = []
        with ThreadPoolExecutor(cores()) as pool:
            self._fill(sources[:MOST], pool)

    def _fill(self, sources: list[tuple[Hashable, bytes | str | None]], pool: ThreadPoolExecutor) -> None:
        room = MOST_BYTES
        made = pool.map(lambda each: small_jpeg(each[1], SIDE), sources)
        for (key, _), jpeg in zip(sources, made, strict=True):
            if jpeg is not None and len(jpeg) <= room:
                room -= len(jpeg)
                self._numbers[key] = len(self._jpegs)
                self._jpegs.append(jpeg)

    def __len__(self) -> int:
        return len(self._jpegs)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._numbers

    def definitions(self) -> str:
        """All pictures, to be put into the page once."""
        symbols = (
            f'<symbol id="p{number}" viewBox="0 0 {SIDE} {SIDE}"><image width="{SIDE}" height="{SIDE}" '
            f'href="data:image/jpeg;base64,{b64encode(jpeg).decode()}"/></symbol>'
            for number, jpeg in enumerate(self._jpegs)
        )
        return f'<svg width="0" height="0" class="store" aria-hidden="true">{"".join(symbols)}</svg>'

    def figure(self, key: Hashable, name: str, *lines: str) -> str:
        """One picture, or its name where there is none, with lines of text below."""
        if key in self._numbers:
            use = f'<use href="#p{self._numbers[key]}"/>'
            shown = tag("svg", use, viewBox=f"0 0 {SIDE} {SIDE}", role="img", aria_label=name)
        else:
            shown = words("div", "not shown", class_="none")
        caption = words("b", PurePath(name).name or name) + "".join(words("span", line) for line in lines)
        return tag("figure", shown + tag("figcaption", caption), title="\n".join([name, *lines]))
