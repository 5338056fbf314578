"""The parts of a page that are sentences and plots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from classifiers.evaluation.findings import Calibration, Findings
from classifiers.evaluation.multi_label import SeveralMetrics
from classifiers.evaluation.no_transfer import MOST_KNOWN, MOST_UNSEEN
from classifiers.kinds import title
from classifiers.report import galleries, plots, sentences
from classifiers.report.markup import escaped, percent, span, table, tag, words
from classifiers.report.pictures import MOST, Pictures

if TYPE_CHECKING:
    from classifiers.training.train import Training


HARDLY_TOLD = 0.7
"""AUROC under which it is said that unknown images of such a kind would hardly be found."""


def about(training: Training, findings: Findings, pictures: Pictures) -> str:  # noqa: ARG001
    """One line under the title."""
    manifest = training.head.manifest
    line = (
        f"{title(manifest.kind)} on {manifest.backbone} embeddings, {len(manifest.classes)} classes, "
        f"{len(training.known.y):,} images fitted on and {training.metrics.n:,} tested on; {manifest.created}"
    )
    return words("p", line, class_="faint")


def summary(training: Training, findings: Findings) -> str:
    """Tiles, and what they mean."""
    metrics = training.metrics
    second = "macro F1" if isinstance(metrics, SeveralMetrics) else "balanced accuracy"
    shares = dict(sentences.shares(metrics))
    tiles = [
        _tile(percent(metrics.accuracy), f"{sentences.accuracy(metrics)}, 95 % {span(metrics.interval)}"),
        _tile(percent(shares[second].value), f"{second}, {span(shares[second][1:])}"),
        _tile(percent(metrics.majority_accuracy), f"always {metrics.majority!r}"),
    ]
    if findings.no_transfer:
        tiles.append(_tile(percent(findings.no_transfer.value), "colours alone, no backbone"))
    points = [_sentence(prefix, line) for prefix, line in _prefixed(findings, training)]
    return tag("div", "".join(tiles), class_="tiles") + tag(
        "ul", "".join(words("li", point) for point in points), class_="points"
    )


def _prefixed(findings: Findings, training: Training) -> Iterator[tuple[str, str]]:
    before = {"fit": "Right answers: ", "labels": "Labels: ", "more": "More labelled images: "}
    for what, line in sentences.key_lines(findings, training.metrics):
        yield before.get(what, ""), line


def _sentence(prefix: str, line: str) -> str:
    whole = prefix + line
    return whole[0].upper() + whole[1:] + "."


def _tile(value: str, what: str) -> str:
    return tag("div", words("b", value) + words("span", what), class_="tile")


def errors(findings: Findings, pictures: Pictures) -> str:
    """The wrong answers that the head was surest of."""
    count = len(galleries.mistakes(findings.judged))
    if not count:
        return words("p", "No test image was answered wrongly.")
    each = ", each label of an image an answer," if findings.judged.multi_label else ""
    line = f"Of {count:,} wrong answers on the test images{each} those that the head was surest of."
    return words("p", line) + galleries.mistake_gallery(findings.judged, pictures)


def suspected(findings: Findings, pictures: Pictures) -> str:
    """Labels that are probably wrong."""
    line = f"Labels: {sentences.noise(findings)}. "
    if findings.suspects:
        line += (
            "Heads that had not seen these images are surer of another class than they usually are of their "
            "own (confident learning). Hard images are among them: look before you change a label."
        )
    return words("p", line) + galleries.suspect_gallery(findings, pictures)


def calibration(findings: Findings) -> str:
    """The reliability diagram."""
    told = findings.calibration
    plot = tag("div", plots.reliability(told) + plots.legend(_drawn(told)))
    each = " Each label of an image counts as an answer." if findings.judged.multi_label else ""
    return words("p", f"Expected calibration error {sentences.calibrated(told)}.{each}") + tag(
        "div", plot, class_="plots"
    )


def _drawn(told: Calibration) -> list[str]:
    """What the lines of the reliability diagram are; of no temperature both are one."""
    return ["as they are"] if told.temperature == 1 else ["with the temperature", "without"]


def curves(findings: Findings) -> str:
    """ROC and precision-recall curves of the classes that are told worst."""
    shown = plots.drawn(findings.curves, mirrored=not findings.judged.multi_label)
    if not shown:
        return ""
    fewer = len(shown) < len(findings.curves)
    mirrored = len(shown) == 1 < len(findings.curves)
    note = "Each class against the rest" + (
        "; of two classes the rarer."
        if mirrored
        else "; the classes with the smallest areas, the others are in the table."
        if fewer
        else "."
    )
    both = "".join(tag("div", plot(shown)) for plot in (plots.roc, plots.precision_recall))
    key = plots.legend([each.label for each in shown])
    return words("p", note) + tag("div", both, class_="plots") + key


def learning(findings: Findings) -> str:
    """The learning curve and what it says."""
    curve = findings.learning_curve
    line = words("p", f"More labelled images: {sentences.advice(curve)}.")
    if curve is None:
        return line
    rows = "other random splits" if curve.resplit else "the test images, the labels drawn anew"
    note = (
        f"{title(curve.kind)}; means of {curve.repeats} repeats over {rows}, "
        f"{curve.test_rows:,} images tested on in each; bars are 95 % intervals."
    )
    return (
        line
        + tag(
            "div", tag("div", plots.learning(curve, sentences.curve_measure(findings.judged))), class_="plots"
        )
        + words("p", note, class_="note")
    )


def unknown(training: Training) -> str:
    """How images of none of the classes are told."""
    rejection = training.head.rejection
    if rejection is None:
        return words("p", "This head cannot tell: it was fitted on too few images.")
    told = rejection.measured
    line = (
        f"An image is answered 'unknown' from a distance of {told.threshold:.3f} on "
        f"({told.method.capitalize()}); measured on {told.rows:,} images that cross-validation held out, so "
        f"that {percent(told.false_rejects, 0)} of known are."
    )
    if told.rejected is not None:
        line += f" Of the test images {percent(told.rejected)} are."
    if told.auroc is None:
        return words("p", line)
    line += (
        f" With one class left out in turn, its images are told from the rest with AUROC {told.auroc:.3f} "
    )
    line += "(0.5 is by chance)."
    if missed := [label for label, value in told.left_out.items() if value < HARDLY_TOLD]:
        line += (
            f" Images like those of {', '.join(missed)} would hardly be found, were they of no class: most "
            "would be answered as one of the others."
        )
    rows = [[escaped(label), f"{value:.3f}"] for label, value in told.left_out.items()]
    return words("p", line) + table(["class left out", "AUROC"], rows)


def copies(findings: Findings, pictures: Pictures) -> str:
    """Groups of images that are nearly the same."""
    around = findings.neighbourhood
    groups = len(around.groups)
    if not groups:
        return words("p", f"None among {around.compared:,} images (cosine {around.alike:g} and more).")
    images = sum(map(len, around.groups))
    line = (
        f"{images:,} of {around.compared:,} images are in {groups:,} groups of near copies (cosine "
        f"{around.alike:g} and more). {_across(findings)}"
    )
    return words("p", line) + galleries.copies_gallery(findings, pictures)


def _across(findings: Findings) -> str:
    """Whether near copies are on both sides of the split, which makes figures too good."""
    held_out = findings.judged.held_out
    across = sum(len({bool(held_out[row]) for row in group}) > 1 for group in findings.neighbourhood.groups)
    if not across:
        return "None of these groups is on both sides of the split."
    some = "One is" if across == 1 else f"{across:,} are"
    return f"{some} on both sides of the split, which makes the test figures too good."


def unusual(findings: Findings, pictures: Pictures) -> str:
    """Images that are unlike all others."""
    line = (
        "The images that are furthest from the ten most like them (mean cosine distance; half of all images "
        f"keep within {findings.neighbourhood.median:.3f}): other things, broken pictures, or rare cases."
    )
    return words("p", line) + galleries.unusual_gallery(findings, pictures)


def card(facts: dict[str, Any]) -> str:
    """The model card."""
    weights = facts["weights"]
    rows = {
        "head": f"{facts['name']}: {facts['kind']}, {_pairs(facts['setting'])}",
        "scaling": facts["scale"],
        "temperature": f"{facts['temperature']:.4g}",
        "classes": ", ".join(f"{label} ({count:,})" for label, count in facts["classes"].items()),
        "images": _pairs(facts["images"]),
        "data digest": facts["data_digest"],
        "backbone": f"{facts['backbone']}, {facts['dim']} wide",
        "fingerprint": facts["fingerprint"],
        "weights": weights["source"] if weights else "not known here",
        "licence of the weights": weights["licence"] if weights else "not known here",
        **({"augmented views": ", ".join(facts["augment"])} if "augment" in facts else {}),
        "made": f"{facts['created']}, seed {facts['seed']}",
        "versions": _pairs(facts["versions"]),
    }
    note = "The licence of the weights is theirs alone: that of the images is their owners' to say."
    cells = ([escaped(name), escaped(value)] for name, value in rows.items())
    return table(["", ""], cells, class_="left") + words("p", note, class_="note")


def _pairs(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in facts.items()
    ).replace("_", " ")


def _means(findings: Findings) -> str:
    if findings.judged.multi_label:
        return "Means over labels: 1,000 test sets drawn from the test images"
    return "Means over classes: 2,000 tables drawn from the confusion matrix"


def method(training: Training, findings: Findings, pictures: Pictures) -> str:
    """Where the figures come from."""
    fitting = training.head.manifest.fitting
    refitted = (
        "The figures are of a head fitted on the training images; the saved one was then fitted on all."
        if fitting["refitted_on_all"]
        else "The tested head is the one that is saved."
    )
    lines = [
        refitted,
        "Intervals are of 95 %. Shares: Wilson (1927). F1: Wilson's of the share of right answers among the "
        f"images that are of the class or taken for it. {_means(findings)} and one and a half images more. "
        "Differences from baselines, on the same images: Agresti and Min (2005). Log loss: 2,000 draws of "
        "the test images. ROC area: DeLong et al. (1988) on log odds; average precision: Boyd et al. (2013). "
        "Other splits: Nadeau and Bengio (2003). All draws are seeded.",
        "The setting was chosen on the training part of the first split; other splits keep it.",
        "Calibration error: 15 bins of equal width; what chance gives: truths drawn from the probabilities.",
        f"Colours: logistic regression on at most {MOST_KNOWN:,} training and {MOST_UNSEEN:,} test images.",
        "Labels to check: Northcutt et al. (2021), from heads that had not seen the image.",
        "Labels for one point more: error = floor + slope / labels^power, fitted to the repeats drawn again.",
        f"Pictures: {len(pictures):,} of {pictures.wanted:,} that the parts name, at most {MOST} and 3 MiB.",
        "Seconds: "
        + ", ".join(f"{stage} {took:.2f}" for stage, took in (training.seconds | findings.seconds).items()),
    ]
    return tag("ul", "".join(words("li", line) for line in lines), class_="points note")
