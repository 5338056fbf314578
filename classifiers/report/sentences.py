"""What the figures mean, in words: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator

from classifiers.evaluation.evaluate import Metrics
from classifiers.evaluation.findings import Calibration, Findings
from classifiers.evaluation.intervals import Estimate
from classifiers.evaluation.judged import Judged
from classifiers.evaluation.learning_curve import LearningCurve
from classifiers.evaluation.multi_label import SeveralMetrics
from classifiers.kinds import title
from classifiers.report.markup import percent, span


def accuracy(metrics: Metrics) -> str:
    """What the accuracy is called: of several labels an image, all of them must be right."""
    return "all labels right" if isinstance(metrics, SeveralMetrics) else "accuracy"


def curve_measure(judged: Judged) -> str:
    """What a learning curve is of."""
    return "labels right" if judged.multi_label else "accuracy"


def shares(metrics: Metrics) -> Iterator[tuple[str, Estimate]]:
    """The figures of a test set that are shares, with their names and intervals."""
    yield accuracy(metrics), Estimate(metrics.accuracy, *metrics.interval)
    recall = "mean recall" if isinstance(metrics, SeveralMetrics) else "balanced accuracy"
    yield recall, Estimate(metrics.balanced_accuracy, *metrics.balanced_accuracy_interval)
    yield "macro F1", Estimate(metrics.macro_f1, *metrics.macro_f1_interval)
    if isinstance(metrics, SeveralMetrics):
        yield "micro F1", Estimate(metrics.micro_f1, *metrics.micro_f1_interval)


def baselines(findings: Findings, metrics: Metrics) -> str:
    """Whether the head beats what needs no backbone, on the same test images."""
    best, name, which = metrics.majority_accuracy, f"always answering {metrics.majority!r}", "majority"
    if findings.no_transfer and findings.no_transfer.value > best:
        best, name, which = findings.no_transfer.value, "the pictures' colours alone", "colours"
    gain = findings.gains[which]
    interval = f"95 % interval of the difference {points(gain.interval[0])} to {points(gain.interval[1])}"
    if gain.above:
        return (
            f"better by {100 * gain.share:.1f} points than the best baseline, {name} ({percent(best)}); "
            f"{interval}"
        )
    verdict = "not surely better" if gain.share > 0 else "no better"
    return (
        f"{verdict} than {name} ({percent(best)}): {interval}; more test images, or better ones to learn "
        "from, would tell"
    )


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}"


def gap(findings: Findings, metrics: Metrics) -> str:
    """Training against validation against test."""
    what = " with all labels right" if isinstance(metrics, SeveralMetrics) else ""
    parts = [f"{percent(findings.train_accuracy)}{what} on the images that it was fitted on"]
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
    """How many labels may be wrong."""
    judged = findings.judged
    said = int(judged.said.sum())
    count = len({suspect.row for suspect in findings.suspects})
    if not said:
        return "not judged: there was no cross-validation"
    if not judged.informed:
        return "not judged: what the head says of images that it has not seen tells nothing of their labels"
    few = (
        "" if said == len(judged.labels) else f" (of {len(judged.labels):,}: the others were never held out)"
    )
    if not count:
        return f"none of {said:,} looks wrong{few}"
    what = "images have one that is" if judged.multi_label else "is" if count == 1 else "are"
    return f"{count:,} of {said:,} {what} worth a look, hard images among them{few}"


def resplit(curve: LearningCurve | None, judged: Judged) -> str | None:
    """The accuracy over other splits; None when the test images were given."""
    if curve is None or not curve.resplit:
        return None
    last: Estimate = curve.accuracy[-1]
    splits = f"{curve.repeats} other random splits ({title(curve.kind)})"
    what = " of all labels" if judged.multi_label else ""
    return f"{percent(last.value)}{what} over {splits}, 95 % interval {span(last[1:])}"


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
    likely = f"probably between {low:,} and {high:,}"
    return f"about {told.more:,} more labelled images give one point more ({likely})"


def key_lines(findings: Findings, metrics: Metrics) -> Iterator[tuple[str, str]]:
    """The findings that a person wants first: what, and the sentence."""
    yield "baseline", baselines(findings, metrics)
    yield "fit", gap(findings, metrics)
    if again := resplit(findings.learning_curve, findings.judged):
        yield "resplit", again
    yield "calibrated", f"calibration error {calibrated(findings.calibration)}"
    yield "labels", noise(findings)
    yield "more", advice(findings.learning_curve)
