"""A map as one HTML file that needs nothing else: data and pictures are inside."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor.exploring.maps import Layout
from extractor.exploring.rows import Rows
from extractor.results import Vector
from extractor.text import printable

_COLOURS = 10
"""Labels with a colour of their own; rarer ones share one."""

_FINEST = 65535


def page(title: str, rows: Rows, layout: Layout, pictures: Mapping[int, bytes]) -> str:
    """The HTML of a map.

    Parameters
    ----------
    title : str
        The collection's name.
    rows : Rows
    layout : Layout
    pictures : mapping of int to bytes
        JPEGs, by the number of their point.
    """
    template = files(__package__).joinpath("map.html").read_text("utf-8")
    return template.replace("{{title}}", _escaped(title)).replace(
        "{{data}}", _safe_json(_data(title, rows, layout, pictures))
    )


def _data(title: str, rows: Rows, layout: Layout, pictures: Mapping[int, bytes]) -> dict[str, Any]:
    labels = [rows.labels[code] for code in rows.codes[layout.places]]
    legend = [label for label, _ in Counter(filter(None, labels)).most_common()]
    number = {label: place for place, label in enumerate(legend)}
    return {
        "title": printable(title),
        "method": layout.method,
        "total": len(rows),
        "points": b64encode(_quantised(layout.points).tobytes()).decode(),
        "ids": [printable(rows.id(place)) for place in layout.places.tolist()],
        "labels": [printable(label) for label in legend],
        "coloured": min(_COLOURS, len(legend)),
        "codes": [number[label] if label else -1 for label in labels],
        "pictures": {str(point): b64encode(jpeg).decode() for point, jpeg in pictures.items()},
    }


def _quantised(points: Vector) -> NDArray[np.uint16]:
    """Coordinates as whole numbers, of one scale both ways, y upwards as in a plot."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = max(float((high - low).max()), 1e-12)
    middle = (points - (low + high) / 2) / span + 0.5
    return np.asarray(np.round(middle * _FINEST).clip(0, _FINEST), "<u2")


def _safe_json(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _escaped(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
