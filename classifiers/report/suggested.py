"""Images of a collection that are worth a label, as a part of the page."""

from __future__ import annotations

from classifiers.evaluation.labelling import Suggested
from classifiers.report.galleries import gallery
from classifiers.report.markup import percent, words
from classifiers.report.pictures import Pictures


def suggestion_gallery(suggested: Suggested, pictures: Pictures) -> str:
    """The images, in the order to label them."""
    about = (
        f"Of {suggested.unlabelled:,} images of the collection {suggested.collection!r} that are not among "
        "the labelled ones, those the head is least sure of (smallest margin between its two most probable "
        "classes), each as unlike the ones before it as can be."
    )
    figures = (
        pictures.figure(
            ("next", each.id),
            each.id,
            "unknown: like no class" if each.unknown else f"{percent(each.probability, 0)} {each.likely}",
            f"margin {each.margin:.2f}",
        )
        for each in suggested.images
    )
    return words("p", about) + gallery(figures)
