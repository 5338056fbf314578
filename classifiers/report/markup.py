"""HTML and SVG as text, every name and number escaped in one place."""

from __future__ import annotations

import html
from collections.abc import Iterable

from extractor.text import printable


def escaped(text: object) -> str:
    """What `str(text)` says, as text of an element or of an attribute."""
    return html.escape(printable(text), quote=True)


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element; `content` is markup, attributes are escaped here.

    Attributes that are None are left out; of their names an underscore at the
    end goes, and others become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>"


def words(name: str, text: object, /, **attributes: object) -> str:
    """An element with text in it, which is escaped."""
    return tag(name, escaped(text), **attributes)


def table(head: Iterable[str], rows: Iterable[Iterable[str]], **attributes: object) -> str:
    """A table in a scroller of its own; cells are markup, the head is text."""
    first = tag("tr", "".join(words("th", each, scope="col") for each in head))
    body = "".join(tag("tr", "".join(tag("td", cell) for cell in row)) for row in rows)
    inside = tag("table", tag("thead", first) + tag("tbody", body), **attributes)
    return tag("div", inside, class_="wide", tabindex=0)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as text."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def span(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """An interval of a share as text."""
    if interval is None:
        return ""
    return f"{100 * interval[0]:.{digits}f} to {100 * interval[1]:.{digits}f}"
