"""What `fit-head` prints: figures for a person, or one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from classifiers.evaluation.evaluate import Metrics
from classifiers.heads import HeadManifest
from classifiers.kinds import title
from classifiers.report.files import DOCUMENT, PAGE, Report
from classifiers.report.markup import span
from classifiers.report.sentences import key_lines, shares
from classifiers.training.train import Training
from extractor.text import printable
from extractor.vector_files import is_file_name

MOST_SUGGESTED = 5
"""Images worth a label that are named; the report has more."""

WIDEST_MATRIX = 10
"""Classes up to which the confusion matrix is printed whole."""


def to_dict(training: Training, path: Path, replaced: bool, report: Report | None = None) -> dict[str, Any]:
    """Everything, as plain values for JSON; of a report what it says first, and where it is."""
    manifest, choice = training.head.manifest, training.choice
    facts = asdict(manifest)
    del facts["synsets"]
    return {
        **facts,
        "path": str(path),
        "replaced": replaced,
        "choice": {
            "kind": choice.kind,
            **choice.setting.named(),
            "temperature": choice.temperature,
            "folds": choice.folds,
            "at_edge": choice.at_edge,
            "trials": [{**setting.named(), "log_loss": loss} for setting, loss in choice.trials.items()],
        },
        "seconds": training.seconds,
        "rejected": [asdict(each) for each in training.rejected],
        "report": report and _report(training, path, report),
    }


def _report(training: Training, path: Path, report: Report) -> dict[str, Any]:
    return {
        "page": str(path / PAGE),
        "document": str(path / DOCUMENT),
        "seconds": report.seconds,
        **dict(key_lines(report.findings, training.metrics)),
    }


def to_text(training: Training, path: Path, replaced: bool, report: Report | None = None) -> str:
    """The report, as lines for a terminal; with what was found out, when it was."""
    manifest = training.head.manifest
    kind = title(manifest.kind)
    lines = [
        f"{manifest.name}: {kind} on {manifest.backbone} embeddings, {len(manifest.classes)} classes",
        _split_line(manifest.fitting),
        *_views_lines(manifest.fitting),
        "",
        *_summary(training.metrics, report),
        "",
        *_class_table(training.metrics),
        "",
        *_confusions(training.metrics),
        *_fit_lines(training, report),
        "",
        *_found_lines(training, path, report),
        f"saved to {path}" + (" (in place of the earlier head of this name)" if replaced else ""),
        _next_step(manifest),
    ]
    return "\n".join(map(printable, lines))


def _next_step(manifest: HeadManifest) -> str:
    name = manifest.name
    if is_file_name(manifest.backbone):
        return (
            f"it takes vectors like those of {manifest.backbone}, not images: load_head({name!r}).predict(X) "
            f"in Python, or penultimate heads export {name} --onnx {name}.onnx"
        )
    return f"try it: penultimate classify {name} IMAGE..."


def _split_line(fitting: dict[str, Any]) -> str:
    how = "given" if fitting["test_size"] is None else f"held out, stratified, seed {fitting['seed']}"
    images, copies, groups = fitting["train"] + fitting["test"], fitting["copies"], fitting["groups"]
    if copies:
        how += f"; {copies} exact {'copy' if copies == 1 else 'copies'}, kept on one side"
    if groups + copies < images:
        how += f"; near copies and given groups, kept on one side, make {groups:,} groups of them"
    return f"{fitting['train']:,} images to train on, {fitting['test']:,} to test on ({how})"


def _views_lines(fitting: dict[str, Any]) -> Iterator[str]:
    if "augment" in fitting:
        without = f"; {fitting['unviewed']:,} images have none" if fitting["unviewed"] else ""
        names = ", ".join(fitting["augment"])
        yield f"augmented views, fitted on too: {names} ({fitting['views']} each{without})"


def _summary(metrics: Metrics, report: Report | None) -> Iterator[str]:
    for at, (name, share) in enumerate(shares(metrics)):
        yield _line(name, share.value, ("" if at else "95 % interval ") + span(share[1:]))
    if report:
        loss = report.findings.log_loss
        yield f"{'log loss':18}  {loss.value:5.3f}    {loss.low:.3f} to {loss.high:.3f}"
    yield _line("majority baseline", metrics.majority_accuracy, f"always {metrics.majority!r}")
    if report and (colours := report.findings.no_transfer):
        yield _line("colours baseline", colours.value, f"{span(colours[1:])}, no backbone")


def _line(name: str, share: float, more: str) -> str:
    return f"{name:18}  {_percent(share)}   {more}"


def _found_lines(training: Training, path: Path, report: Report | None) -> Iterator[str]:
    """The findings that a person wants first, and where all of them are."""
    if report is None:
        return
    for what, sentence in key_lines(report.findings, training.metrics):
        yield f"{what:10}  {sentence}"
    if report.suggested:
        first = ", ".join(each.id for each in report.suggested.images[:MOST_SUGGESTED])
        yield f"label next  {first or 'none: all images of the collection have a label'}"
    yield ""
    yield f"report in {path / PAGE}"


def _class_table(metrics: Metrics) -> Iterator[str]:
    labels = _labels(metrics)
    width = max(map(len, ("class", *labels)))
    yield f"{'class':{width}}  precision  recall      F1  images"
    for label, each in zip(labels, metrics.classes, strict=True):
        yield (
            f"{label:{width}}  {_percent(each.precision):>9}  {_percent(each.recall)}  "
            f"{_percent(each.f1)}  {each.support:6,}"
        )


def _confusions(metrics: Metrics) -> Iterator[str]:
    labels = _labels(metrics)
    if not metrics.confusion:
        return  # images may have several labels
    if len(labels) > WIDEST_MATRIX:
        yield from _worst_confusions(labels, metrics.confusion)
        yield ""
        return
    widths = [max(len(label), 5) for label in labels]
    first = max(map(len, (*labels, "truth")))
    yield "confusion matrix (one row for each true class, one column for each answer)"
    yield "  ".join(
        [" " * first, *(f"{label:>{width}}" for label, width in zip(labels, widths, strict=True))]
    )
    for label, row in zip(labels, metrics.confusion, strict=True):
        yield "  ".join([f"{label:{first}}", *(f"{n:{width}}" for n, width in zip(row, widths, strict=True))])
    yield ""


def _worst_confusions(labels: list[str], confusion: list[list[int]], most: int = 10) -> Iterator[str]:
    pairs = [
        (count, labels[truth], labels[answer])
        for truth, row in enumerate(confusion)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    yield "most frequent confusions (the whole matrix is in --json)"
    for count, truth, answer in sorted(pairs, key=lambda pair: -pair[0])[:most]:
        yield f"{count:6,}  {truth} taken for {answer}"


def _fit_lines(training: Training, report: Report | None) -> Iterator[str]:
    choice, fitting = training.choice, training.head.manifest.fitting
    setting = ", ".join(f"{name} {value:.3g}" for name, value in choice.setting.named().items())
    yield f"setting   {setting}, {_chosen(choice.folds)}" if setting else "setting   none to choose"
    if choice.at_edge:
        yield "          (log loss was least at the strongest or weakest tried: a better one may lie beyond)"
    seconds = training.seconds | ({"report": report.seconds} if report else {})
    yield "seconds   " + ", ".join(f"{stage} {took:.2f}" for stage, took in seconds.items())
    if not fitting["converged"]:
        yield "note      the fit was stopped before it converged; the figures hold for the head as it is"
    if fitting["refitted_on_all"]:
        aside = fitting.get("aside", 0)
        known, total = fitting["train"], fitting["train"] + fitting["test"] + aside
        yield f"note      the figures are of a head fitted on {known:,} images; the one that is saved was"
        yield f"          then fitted on all {total:,} with the same setting"
        if aside:
            yield f"          ({aside:,} are too near to a test image to be fitted on before the test)"


def _chosen(folds: int) -> str:
    if folds == 0:
        return "the default, since there are too few images to choose"
    if folds == 1:
        return "chosen on a held-out fifth of the training images"
    return f"chosen by {folds}-fold cross-validation"


def _labels(metrics: Metrics) -> list[str]:
    return [printable(each.label) for each in metrics.classes]


def _percent(share: float | None) -> str:
    return "     -" if share is None else f"{100 * share:4.1f} %"
