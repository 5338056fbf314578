"""Drift as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extractor.heads_wire.values import Drift

_GAUGES: dict[str, tuple[str, Callable[[Drift], float | None]]] = {
    "live_images": ("Images in the sample of those it was lately asked about.", lambda drift: drift.images),
    "drift_ratio": ("Median distance to the nearest class, live over held out.", lambda drift: drift.ratio),
    "drift_distance_p_value": (
        "That distances are as held-out ones are, by Kolmogorov and Smirnov's test.",
        lambda drift: drift.distance.p_value if drift.distance else None,
    ),
    "drift_classes_p_value": (
        "That classes are as frequent as among held-out images, by Pearson's test.",
        lambda drift: drift.classes.p_value if drift.classes else None,
    ),
    "unknown_share": ("Share of the sample over the threshold.", lambda drift: drift.unknown),
}
"""By name, what it means and where it is in a `Drift`; nothing is said of what is not known."""


class DriftGauges(Collector):
    """One gauge a figure, of the heads that were asked since the start.

    Attributes
    ----------
    drifts : callable
        What is measured at every scrape; set once there are heads that answer.
    """

    def __init__(self) -> None:
        self.drifts: Callable[[], Iterable[Drift]] = tuple

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        drifts = list(self.drifts())
        for name, (meaning, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"penultimate_head_{name}", meaning, labels=["head", "version"])
            for drift in drifts:
                if (value := read(drift)) is not None:
                    gauge.add_metric([drift.name, str(drift.version)], value)
            yield gauge
