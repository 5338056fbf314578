"""The tables of a page: the figures of the whole, and of each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from classifiers.evaluation.findings import Findings
from classifiers.evaluation.intervals import Estimate
from classifiers.kinds import title
from classifiers.report import plots, sentences
from classifiers.report.markup import escaped, percent, span, table, words

if TYPE_CHECKING:
    from classifiers.training.train import Training


def figures(training: Training, findings: Findings) -> str:
    """All figures of the test images, with intervals and what they are worth beside baselines."""
    metrics = training.metrics
    shares = [*sentences.shares(metrics)]
    if findings.no_transfer:
        shares.append((f"{sentences.accuracy(metrics)} of colours alone", findings.no_transfer))
    if (curve := findings.learning_curve) and curve.resplit:
        what = sentences.curve_measure(findings.judged)
        shares.append((f"{what} over {curve.repeats} other splits, {title(curve.kind)}", curve.accuracy[-1]))
    least = plots.scale_of(each.low for _, each in shares)
    rows = [
        [escaped(name), percent(each.value), span(each[1:]), plots.interval_bar(each.value, each[1:], least)]
        for name, each in shares
    ]
    plain = [
        (f"always {metrics.majority!r}", metrics.majority_accuracy),
        ("on the training images", findings.train_accuracy),
        ("in cross-validation", findings.validation_accuracy),
    ]
    of = sentences.accuracy(metrics)
    rows += [[escaped(f"{of} {name}"), percent(value), "", ""] for name, value in plain]
    loss = findings.log_loss
    rows.append(["log loss", f"{loss.value:.3f}", f"{loss.low:.3f} to {loss.high:.3f}", ""])
    rows.append(["log loss of the classes' shares", f"{findings.prior_log_loss:.3f}", "", ""])
    return table(["", "", "95 % interval", f"{100 * least:.0f} to 100 %"], rows, class_="figures")


def classes(training: Training, findings: Findings) -> str:
    """Every class's figures, each with its interval."""
    areas = {each.label: each for each in findings.curves}
    least = plots.scale_of(each.f1_interval[0] for each in training.metrics.classes if each.f1_interval)
    thresholds = training.head.manifest.thresholds

    def rows() -> Iterator[list[str]]:
        for at, each in enumerate(training.metrics.classes):
            area = areas.get(each.label)
            yield [
                escaped(each.label),
                _with_span(each.precision if each.precision_interval else None, each.precision_interval),
                _with_span(each.recall, each.recall_interval),
                _with_span(each.f1 if each.f1_interval else None, each.f1_interval),
                plots.interval_bar(each.f1, each.f1_interval, least),
                f"{each.support:,}",
                _area(area.auc if area else None),
                _area(area.average_precision if area else None),
                *([f"{thresholds[at]:.2f}"] if thresholds else []),
            ]

    head = [
        "class",
        "precision, %",
        "recall, %",
        "F1, %",
        f"F1, {100 * least:.0f} to 100 %",
        "images",
        "ROC area",
        "average precision",
        *(["threshold"] if thresholds else []),
    ]
    return table(head, rows(), class_="classes")


def _with_span(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} " + words("small", span(interval))


def _area(area: Estimate | None) -> str:
    if area is None:
        return "-"
    return f"{area.value:.3f} " + words("small", f"{area.low:.3f} to {area.high:.3f}")
