"""What the figures mean, in words: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator

from classifiers.evaluation.evaluate import Metrics
from classifiers.evaluation.findings import Calibration, Findings
from classifiers.evaluation.intervals import Estimate
from classifiers.evaluation.learning_curve import LearningCurve
from classifiers.kinds import title
from classifiers.report.markup import percent, span


def baselines(findings: Findings, metrics: Metrics) -> str:
    """Whether the head beats what needs no backbone."""
    best, name = metrics.majority_accuracy, f"always answering {metrics.majority!r}"
    if findings.no_transfer and findings.no_transfer.value > best:
        best, name = findings.no_transfer.value, "the pictures' colours alone"
    over = 100 * (metrics.accuracy - best)
    if metrics.interval[0] > best:
        return f"Better by {over:.1f} points than the best baseline, {name} ({percent(best)})."
    return (
        f"Not surely better than {name} ({percent(best)}): the interval of the accuracy reaches down to "
        f"{percent(metrics.interval[0])}. More test images, or better ones to learn from, would tell."
    )


def gap(findings: Findings, metrics: Metrics) -> str:
    """Training against validation against test."""
    parts = [f"{percent(findings.train_accuracy)} on the images that it was fitted on"]
    if findings.validation_accuracy is not None:
        parts.append(f"{percent(findings.validation_accuracy)} of them in cross-validation")
    return ", ".join([*parts, f"{percent(metrics.accuracy)} on the test images"])


def calibrated(calibration: Calibration) -> str:
    """How far probabilities can be taken at their word."""
    if calibration.temperature == 1:
        change = f"{percent(calibration.after)}, without a temperature"
    else:
        change = (
            f"{percent(calibration.before)} before and {percent(calibration.after)} after the temperature "
            f"{calibration.temperature:.3g}"
        )
    verdict = (
        "no more than chance gives" if calibration.after <= calibration.by_chance else "more than chance"
    )
    return f"{change}; {verdict} (right probabilities: up to {percent(calibration.by_chance)})"


def noise(findings: Findings) -> str:
    """How many labels look wrong."""
    judged = findings.judged
    said = int((judged.answers >= 0).sum())
    count = len(findings.suspects)
    if not said:
        return "not judged: there was no cross-validation"
    few = (
        "" if said == len(judged.labels) else f" (of {len(judged.labels):,}: the others were never held out)"
    )
    if not count:
        return f"none of {said:,} looks wrong{few}"
    return f"{count:,} of {said:,} look{'s' if count == 1 else ''} wrong{few}"


def resplit(curve: LearningCurve | None) -> str | None:
    """The accuracy over other splits; None when the test images were given."""
    if curve is None or not curve.resplit:
        return None
    last: Estimate = curve.accuracy[-1]
    splits = f"{curve.repeats} other random splits ({title(curve.kind)})"
    return f"{percent(last.value)} over {splits}, 95 % interval {span(last[1:])}"


def advice(curve: LearningCurve | None) -> str:
    """What more labels would give."""
    if curve is None:
        return "too few images for a learning curve: more labels would tell"
    told = curve.advice
    if told.verdict == "flat":
        return "the curve is flat: ten times as many like these would hardly give one point more"
    if told.verdict == "unclear" or told.interval is None:
        return "the learning curve cannot tell how many more labels one more point takes"
    low, high = told.interval
    return f"about {told.more:,} more give one point more (probably between {low:,} and {high:,})"


def key_lines(findings: Findings, metrics: Metrics) -> Iterator[tuple[str, str]]:
    """The findings that a person wants first: what, and the sentence."""
    yield "fit", gap(findings, metrics)
    if again := resplit(findings.learning_curve):
        yield "resplit", again
    yield "calibrated", f"calibration error {calibrated(findings.calibration)}"
    yield "labels", noise(findings)
    yield "more", advice(findings.learning_curve)
