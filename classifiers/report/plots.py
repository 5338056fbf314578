"""The plots of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from classifiers.evaluation.calibration import Bin
from classifiers.evaluation.curves import Curves
from classifiers.evaluation.findings import Calibration
from classifiers.evaluation.learning_curve import LearningCurve
from classifiers.report.markup import percent, tag, words
from classifiers.report.svg import Frame, Point

DRAWN = 8
"""Classes that have a curve of their own: those with the smallest areas."""

_SQUARE = Frame((0, 1), (0, 1), width=400, height=370)
_FIFTHS = [(step / 5, f"{20 * step}") for step in range(6)]


def drawn(curves: Sequence[Curves], *, mirrored: bool) -> list[Curves]:
    """Those of the classes with curves of their own; of two, where these mirror each other, the rarer."""
    if mirrored and len(curves) == 2:
        return [min(curves, key=lambda each: each.positives)]
    return sorted(curves, key=lambda each: each.auc.value)[:DRAWN]


def roc(curves: Sequence[Curves]) -> str:
    """ROC curves of some classes."""
    parts = [
        _SQUARE.axes(_FIFTHS, _FIFTHS, "others taken for the class, %", "the class's images found, %"),
        _SQUARE.line([(0, 0), (1, 1)], "aside"),
        *(_SQUARE.line(_points(each.roc), f"line k{at}") for at, each in enumerate(curves)),
    ]
    return _SQUARE.drawing(parts, "ROC curves")


def precision_recall(curves: Sequence[Curves]) -> str:
    """Precision-recall curves of some classes."""
    parts = [
        _SQUARE.axes(_FIFTHS, _FIFTHS, "recall, %", "precision, %"),
        *(_SQUARE.line(_points(each.precision_recall), f"line k{at}") for at, each in enumerate(curves)),
    ]
    return _SQUARE.drawing(parts, "precision-recall curves")


def legend(labels: Sequence[str]) -> str:
    """Which colour is which."""
    keys = (tag("li", tag("i", class_=f"k{at}") + words("span", label)) for at, label in enumerate(labels))
    return tag("ul", "".join(keys), class_="legend")


def reliability(calibration: Calibration) -> str:
    """How often answers are right by how sure they are, before and after the temperature."""
    shown = calibration.bins_before + calibration.bins_after
    least = min(0.5, *(int(10 * min(each.confidence, each.accuracy)) / 10 for each in shown))
    frame = Frame((least, 1), (least, 1), width=400, height=370, top=18)
    ticks = [(step / 10, f"{10 * step}") for step in range(round(10 * least), 11, 1 if least >= 0.5 else 2)]
    most = max(each.images for each in shown)
    parts = [
        frame.axes(ticks, ticks, "how sure, %", "how often right, %"),
        frame.line([(least, least), (1, 1)], "aside"),
        *_binned(frame, calibration.bins_before, most, "k1", "before"),
        *_binned(frame, calibration.bins_after, most, "k0", "after"),
    ]
    return frame.drawing(parts, "reliability diagram")


def _binned(frame: Frame, bins: Sequence[Bin], most: int, style: str, when: str) -> list[str]:
    line = frame.line([(each.confidence, each.accuracy) for each in bins], f"line {style}")
    dots = [
        frame.dot(
            (each.confidence, each.accuracy),
            style,
            2 + 5 * (each.images / most) ** 0.5,
            f"{when}: {each.images} images, {percent(each.confidence)} sure, {percent(each.accuracy)} right",
        )
        for each in bins
    ]
    return [line, *dots]


def learning(curve: LearningCurve, what: str) -> str:
    """`what`, a share, by number of labels, with error bars."""
    low = min(each.low for each in curve.accuracy)
    high = max(each.high for each in curve.accuracy)
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / size <= 8)
    top = min(-int(-high // step), round(1 / step))
    bottom = min(int(low / step), top - 1)
    ends = (bottom * step, top * step)
    frame = Frame((curve.sizes[0] / 1.15, curve.sizes[-1] * 1.15), ends, log=True)
    shown = [*curve.sizes[:-2], curve.sizes[-1]] if len(curve.sizes) > 3 else curve.sizes
    up = [(tick * step, f"{100 * tick * step:.0f}") for tick in range(bottom, top + 1)]
    spots = list(zip(map(float, curve.sizes), curve.accuracy, strict=True))
    parts = [
        frame.axes([(size, f"{size:,}") for size in shown], up, "labelled images", f"{what}, %"),
        frame.band([(x, e.low) for x, e in spots], [(x, e.high) for x, e in spots], "band k0"),
        frame.line([(x, e.value) for x, e in spots], "line k0"),
        *(frame.line([(x, e.low), (x, e.high)], "line thin k0") for x, e in spots),
        *(frame.dot((x, e.value), "k0", 4, f"{x:,.0f} labels: {percent(e.value)}") for x, e in spots),
    ]
    return frame.drawing(parts, "learning curve")


def interval_bar(value: float | None, interval: tuple[float, float] | None, least: float = 0.0) -> str:
    """A figure between `least` and 1 and its interval, as small as a line of text."""
    if value is None or interval is None:
        return ""
    frame = Frame((least, 1), (0, 1), width=110, height=14, left=4, right=4, top=0, bottom=0)
    parts = [
        frame.line([(least, 0.5), (1, 0.5)], "grid"),
        frame.line([(interval[0], 0.5), (interval[1], 0.5)], "line k0"),
        frame.dot((value, 0.5), "k0"),
    ]
    return tag("svg", "".join(parts), viewBox="0 0 110 14", class_="bar", aria_hidden="true")


def scale_of(lows: Iterable[float]) -> float:
    """Where small bars begin, so that the lowest end is seen: a tenth."""
    return int(10 * min(lows, default=0.0)) / 10


def _points(curve: object) -> list[Point]:
    return [(float(x), float(y)) for x, y in curve]  # type: ignore[attr-defined]
