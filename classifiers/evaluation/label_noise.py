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


class Suspect(NamedTuple):
    """An image whose label is probably wrong.

    Attributes
    ----------
    row : int
    given, likely : int
        The places of its label's class, and of the class it probably is of.
    margin : float
        How much more probable `likely` is than `given`: up to 1.
    """

    row: int
    given: int
    likely: int
    margin: float


def suspects(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Suspect]:
    """The rows whose labels are probably wrong, the surest first.

    Parameters
    ----------
    probabilities : array of shape (n, classes)
        Of heads that have not seen the rows; a row with NaN is passed over.
    labels : int array of shape (n,)
        The places of the classes that are given.
    """
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
