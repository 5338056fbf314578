"""Labels that are probably wrong, by confident learning.

C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty
in Dataset Labels" (Journal of Artificial Intelligence Research 70, 2021). A
class's threshold is the mean probability that is given to it where it is the
label. An image is counted for the most probable class of those whose threshold
it reaches; where that is not its label, the label is suspected. The
probabilities must come from heads that were not fitted on the image itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.kinds import Targets


class Suspect(NamedTuple):
    """An image whose label is probably wrong.

    Attributes
    ----------
    row : int
    given, likely : int
        The places of its label's class, and of the class it probably is of.
        Of an image with several labels whether it has one: 0 or 1.
    margin : float
        How much more probable `likely` is than `given`: up to 1.
    label : int or None
        The place of that label; None where an image has one.
    """

    row: int
    given: int
    likely: int
    margin: float
    label: int | None = None


def suspects(probabilities: NDArray[np.float64], labels: Targets) -> list[Suspect]:
    """The rows whose labels are probably wrong, the surest first.

    Of several labels an image each is a question of its own, with two classes.

    Parameters
    ----------
    probabilities : array of shape (n, classes)
        Of heads that have not seen the rows; a row with NaN is passed over.
    labels : Targets
        What is given.
    """
    if labels.ndim == 1:
        return _suspects(probabilities, labels)
    columns = zip(probabilities.T, labels.T.astype(np.int64), strict=True)
    found = [
        each._replace(label=label)
        for label, (column, has) in enumerate(columns)
        for each in _suspects(np.column_stack([1 - column, column]), has)
    ]
    return sorted(found, key=lambda each: -each.margin)


def _suspects(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Suspect]:
    judged = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    if not judged.size:
        return []
    inside, given = probabilities[judged], labels[judged]
    confident = np.where(inside >= thresholds(inside, given), inside, -1.0)
    likely = confident.argmax(axis=1)
    own = inside[np.arange(len(given)), given]
    margin = inside.max(axis=1) - own
    wrong = (confident.max(axis=1) >= 0) & (likely != given) & (inside.argmax(axis=1) == likely)
    order = np.flatnonzero(wrong)[np.argsort(-margin[wrong], kind="stable")]
    return [Suspect(int(judged[at]), int(given[at]), int(likely[at]), float(margin[at])) for at in order]


def thresholds(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each class the mean probability given to it where it is the label; infinite where it never is."""
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, minlength=classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
