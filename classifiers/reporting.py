"""Making a head's report of what lies in a data folder: the backbone's licence, a collection to label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from extractor.errors import PenultimateError
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from classifiers.evaluation.labelling import Suggested
    from classifiers.report import Report
    from classifiers.training.train import Training

SUGGESTED = 24
"""Images of a collection that are suggested."""

_LONG = 5000
"""Rows from which stages are announced: before, they take a second or two."""


def check_collection(name: str, data: DataFolder) -> None:
    """Raise NotFound unless there is such a collection: before hours of embedding."""
    from extractor.collections import Collection

    Collection.open(data, name).close()


def make_report(
    training: Training,
    data: DataFolder,
    suggest: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Report:
    """The report on a head.

    Parameters
    ----------
    training : Training
    data : DataFolder
    suggest : str, optional
        The collection of which images are suggested for labelling.
    note : callable, optional
        Is told, in a line, what is being done with many images.

    Raises
    ------
    FingerprintMismatch
        When the collection is of another backbone.
    """
    from classifiers.report import report_on

    rows = len(training.known.digests) + len(training.unseen.digests)
    suggested = _suggested(training, data, suggest) if suggest else None
    return report_on(
        training,
        weights=_weights(training.head.manifest.backbone, data),
        suggested=suggested,
        note=note if rows > _LONG else None,
    )


def _suggested(training: Training, data: DataFolder, name: str) -> Suggested:
    from classifiers.evaluation.labelling import worth_labelling
    from extractor.collections import Collection

    labelled = {*training.known.digests.tolist(), *training.unseen.digests.tolist()}
    head = training.head
    with Collection.open(data, name) as collection:
        collection.require(head.manifest.fingerprint)
        classes, rejection = head.manifest.classes, head.rejection
        return worth_labelling(head.model, classes, collection, labelled, SUGGESTED, rejection)


def _weights(backbone: str, data: DataFolder) -> Mapping[str, Any] | None:
    """What the bundle says of its weights; None where it is not on this machine."""
    from extractor.backbones.bundle import Bundle

    try:
        return Bundle.of(data, backbone).manifest.weights
    except PenultimateError:
        return None
