"""The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from classifiers.evaluation.findings import Findings
from classifiers.evaluation.labelling import Suggested
from classifiers.report import figures, galleries, sections
from classifiers.report.markup import escaped, tag, words
from classifiers.report.matrix import matrix
from classifiers.report.pictures import Pictures
from classifiers.report.suggested import suggestion_gallery

if TYPE_CHECKING:
    from classifiers.training.train import Training


class Part(NamedTuple):
    """A part of the page: what links lead to, its title, and its markup."""

    anchor: str
    title: str
    content: str


def page(
    training: Training, findings: Findings, card: dict[str, Any], suggested: Suggested | None = None
) -> str:
    """The HTML of a report.

    Parameters
    ----------
    training : Training
    findings : Findings
        Of the same training.
    card : dict
        See `model_card`.
    suggested : Suggested, optional
        Images of a collection that are worth a label.
    """
    judged = findings.judged
    wanted = [(("next", each.id), each.picture) for each in (suggested.images if suggested else ())]
    shown = [(row, judged.images[row]) for row in galleries.wanted(findings)]
    pictures = Pictures([*wanted, *shown])
    parts = [part for part in _parts(training, findings, card, pictures, suggested) if part.content]
    name = training.head.manifest.name
    head = tag(
        "header", words("h1", f"{name}: report of a head") + sections.about(training, findings, pictures)
    )
    links = tag("nav", "".join(words("a", part.title, href=f"#{part.anchor}") for part in parts))
    body = "".join(tag("section", words("h2", part.title) + part.content, id=part.anchor) for part in parts)
    template = files(__package__).joinpath("report.html").read_text("utf-8")
    # What is filled in is put in once and never searched, so that no name can be taken for a place.
    before, between = template.split("{{title}}")
    between, after = between.split("{{pictures}}")
    after, end = after.split("{{body}}")
    whole = [before, escaped(f"{name} - report"), between, pictures.definitions(), after]
    return "".join([*whole, head, links, tag("main", body), end])


def _parts(
    training: Training,
    findings: Findings,
    card: dict[str, Any],
    pictures: Pictures,
    suggested: Suggested | None,
) -> Iterator[Part]:
    judged = findings.judged
    yield Part("summary", "In short", sections.summary(training, findings))
    yield Part("figures", "Figures", figures.figures(training, findings))
    yield Part("classes", "Classes", figures.classes(training, findings))
    note = words("p", "Touch a figure to see its test images.", class_="note")
    which = "Found and missed" if judged.multi_label else "Confusion matrix"
    yield Part("confusion", which, note + matrix(judged, pictures))
    yield Part("errors", "Most confident errors", sections.errors(findings, pictures))
    yield Part("labels", "Labels to check", sections.suspected(findings, pictures))
    yield Part("calibration", "Calibration", sections.calibration(findings))
    yield Part("curves", "ROC and precision-recall", sections.curves(findings))
    yield Part("learning", "Learning curve", sections.learning(findings))
    if suggested:
        yield Part("next", "Label next", suggestion_gallery(suggested, pictures))
    yield Part("unknown", "Unknown images", sections.unknown(training))
    yield Part("copies", "Near copies", sections.copies(findings, pictures))
    yield Part("unusual", "Unusual images", sections.unusual(findings, pictures))
    yield Part("sample", "Sample", galleries.sample_gallery(judged, pictures))
    yield Part("card", "Model card", sections.card(card))
    yield Part("method", "How this was measured", sections.method(training, findings, pictures))
