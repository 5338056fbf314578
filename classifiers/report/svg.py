"""Plots as inline SVG; colours and fonts are those of the page's style."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from classifiers.report.markup import tag, words

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a plot's values lie in its drawing.

    Attributes
    ----------
    x, y : tuple of float
        The ranges that are shown.
    log : bool
        Whether x is on a logarithmic scale.
    width, height : int
        Of the drawing, in its own units, about a pixel.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False
    width: int = 440
    height: int = 300
    left: int = 48
    right: int = 14
    top: int = 12
    bottom: int = 44

    def at(self, point: Point) -> Point:
        """A point's place in the drawing."""
        across = _share(point[0], self.x, self.log) * (self.width - self.left - self.right)
        up = _share(point[1], self.y, False) * (self.height - self.top - self.bottom)
        return round(self.left + across, 1), round(self.height - self.bottom - up, 1)

    def line(self, points: Iterable[Point], style: str) -> str:
        """A line through points."""
        places = " ".join(f"{x},{y}" for x, y in map(self.at, points))
        return tag("polyline", points=places, class_=style)

    def band(self, lower: Sequence[Point], upper: Sequence[Point], style: str) -> str:
        """The area between two lines."""
        places = " ".join(f"{x},{y}" for x, y in map(self.at, [*lower, *reversed(upper)]))
        return tag("polygon", points=places, class_=style)

    def dot(self, point: Point, style: str, radius: float = 3.5, title: str = "") -> str:
        """A dot, with a text that is shown when it is pointed at."""
        x, y = self.at(point)
        return tag("circle", words("title", title) if title else "", cx=x, cy=y, r=radius, class_=style)

    def axes(
        self,
        across: Sequence[tuple[float, str]],
        up: Sequence[tuple[float, str]],
        x_label: str,
        y_label: str,
    ) -> str:
        """Grid lines with their figures, and what they measure."""
        low, high = self.y
        parts = [self.line([(self.x[0], value), (self.x[1], value)], "grid") for value, _ in up]
        parts += [self._text((self.x[0], value), text, -6, 4, "end") for value, text in up]
        parts += [self.line([(value, low), (value, high)], "grid") for value, _ in across]
        parts += [self._text((value, low), text, 0, 16, "middle") for value, text in across]
        middle = (self.left + self.width - self.right) / 2
        parts.append(words("text", x_label, x=middle, y=self.height - 8, text_anchor="middle", class_="axis"))
        parts.append(
            words(
                "text",
                y_label,
                transform=f"translate(12 {(self.top + self.height - self.bottom) / 2}) rotate(-90)",
                text_anchor="middle",
                class_="axis",
            )
        )
        return "".join(parts)

    def drawing(self, parts: Iterable[str], label: str) -> str:
        """The whole, with a text for those who do not see it."""
        return tag(
            "svg",
            "".join(parts),
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            aria_label=label,
            class_="plot",
        )

    def _text(self, point: Point, text: str, right: int, down: int, anchor: str) -> str:
        x, y = self.at(point)
        return words("text", text, x=x + right, y=y + down, text_anchor=anchor)


def _share(value: float, span: tuple[float, float], log: bool) -> float:
    low, high = (math.log(end) for end in span) if log else span
    return ((math.log(value) if log else value) - low) / ((high - low) or 1.0)
