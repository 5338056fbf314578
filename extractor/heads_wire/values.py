"""What goes into served heads and comes out of them, as callers in Python see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from extractor.errors import PenultimateError
from extractor.results import ImageLike, Vector

FALSE_ALARMS = 0.01
"""How often a test of drift says that something has moved where nothing has."""

FEWEST = 30
"""Live images, and held-out ones, below which nothing can be said of drift."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadInput:
    """What is to be classified or fitted on: an image, a vector, or the digest of an image.

    Attributes
    ----------
    image : bytes, path or PIL image
        The server embeds it.
    vector : array of shape (dim,)
        As a backbone gave it, not normalised.
    digest : bytes
        SHA-256 of an image that the server remembers.
    id : str
        The caller's name for it; of a path it is the path when left out.
    """

    image: ImageLike | None = None
    vector: ArrayLike | None = None
    digest: bytes = b""
    id: str = ""


Example: TypeAlias = "HeadInput | ImageLike | Vector"
"""An array is a vector, a `HeadInput` what it says, all else an image."""


class ClassProbability(NamedTuple):
    """A class, how probable it is, and its WordNet id where the backbone's own head answers."""

    label: str
    probability: float
    synset: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one head says of one image.

    Attributes
    ----------
    head : str
    version : int
        Which of its versions answered; 0 for the backbone's own head.
    labels : list of str
        One class, or as many as the image has where it may have several; empty
        when it is unknown.
    unknown : bool
        It is further from all that the head was fitted on than its threshold allows.
    score : float or None
        That distance, about 1 for what the head was fitted on and more for new images; None when
        it cannot tell.
    answers : list of ClassProbability
        The most probable classes, best first.
    """

    head: str
    version: int
    labels: list[str]
    unknown: bool
    score: float | None
    answers: list[ClassProbability]

    @property
    def label(self) -> str:
        """The most probable class, or "unknown"."""
        return "unknown" if self.unknown else self.answers[0].label


@dataclass(frozen=True, slots=True)
class Classified:
    """What became of one image: what each head says of it, or an error.

    Attributes
    ----------
    verdicts : list of Verdict
        One for each head that was asked, in order; empty where there is an error.
    error : PenultimateError or None
    digest : bytes
        SHA-256 of the image; empty for a vector.
    cached : bool
        The vector was remembered, not computed.
    """

    verdicts: list[Verdict]
    error: PenultimateError | None = None
    digest: bytes = b""
    cached: bool = False

    @property
    def ok(self) -> bool:
        """Whether the heads have answered."""
        return self.error is None

    @property
    def verdict(self) -> Verdict:
        """What the first head says; raises the error where there is one."""
        if self.error:
            raise self.error
        return self.verdicts[0]

    @property
    def label(self) -> str:
        """The first head's most probable class, or "unknown"; raises the error where there is one."""
        return self.verdict.label


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """One version of a head.

    Attributes
    ----------
    version : int
    kind : str
        Such as "logistic".
    classes : list of str
        In the order of the probabilities.
    fingerprint, backbone, dim : str, str, int
        Of the backbone whose embeddings it takes, its name and their width.
    created : str
        ISO 8601, UTC.
    metrics : mapping
        Its figures on images that it was not fitted on.
    """

    version: int
    kind: str
    classes: list[str]
    fingerprint: str
    backbone: str
    dim: int
    created: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeadInfo:
    """A head and its versions.

    Attributes
    ----------
    name : str
    serving : int
        The version that answers.
    versions : list of HeadVersion
        In order.
    """

    name: str
    serving: int
    versions: list[HeadVersion]

    @property
    def answering(self) -> HeadVersion:
        """The version that answers."""
        return next(each for each in self.versions if each.version == self.serving)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a head is to be fitted; the defaults are those of `fit-head`.

    Attributes
    ----------
    name, kind, scale : str
        `kind` such as "linear-svm" or "auto", `scale` "standardise" or "normalise".
    seed : int
    test_size : float
        The share of each class that is held out to test on.
    balanced : bool
        Give every class the same weight, however many images it has.
    promote : bool
        Let the new version answer at once; the first does anyway.
    fingerprint : str
        Of the vectors that are sent; the server's backbone's when empty.
    collection : str
        Fit also on its items that have a label; empty for none.
    no_report : bool
        Write no `report.html` and `report.json` beside the version.
    multi_label : bool
        An input may have several labels: `cat|dog`; `|` alone is none of them.
    class_weight : mapping of str to float
        What an input of each class counts; those that are left out count 1.
    """

    name: str
    kind: str = "logistic"
    scale: str = "standardise"
    seed: int = 0
    test_size: float = 0.25
    balanced: bool = False
    promote: bool = False
    fingerprint: str = ""
    collection: str = ""
    no_report: bool = False
    multi_label: bool = False
    class_weight: Mapping[str, float] = field(default_factory=dict)


class Stage(NamedTuple):
    """How far a fit is: a line for a person, images embedded so far, seconds since it began."""

    line: str
    images: int
    seconds: float


class LeftOut(NamedTuple):
    """An image that was not fitted on, and why."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of a fit.

    Attributes
    ----------
    head : HeadInfo
    version : int
        The one that was made; it answers if it is `head.serving`.
    left_out : list of LeftOut
    against_serving : str
        How it did against the version that answered till then, for a person.
    seconds : mapping of str to float
        By stage.
    folder : str
        Of the version, from the server's data folder on, such as `heads/cells/versions/0002`.
    files : sequence of str
        What lies there beside the head, such as "report.html" and "split.csv".
    """

    head: HeadInfo
    version: int
    left_out: Sequence[LeftOut] = ()
    against_serving: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    folder: str = ""
    files: Sequence[str] = ()

    @property
    def fitted(self) -> HeadVersion:
        """The version that was made."""
        return next(each for each in self.head.versions if each.version == self.version)


class DriftTest(NamedTuple):
    """A two-sample test: its method, its statistic, and how probable one as large is by chance."""

    method: str
    statistic: float
    p_value: float

    @property
    def moved(self) -> bool:
        """Whether chance explains it only with a probability below `FALSE_ALARMS`."""
        return self.p_value < FALSE_ALARMS


class Unusual(NamedTuple):
    """A live image far from all classes; `digest` is empty for a vector, `label` the most probable class."""

    id: str
    digest: bytes
    distance: float
    label: str


@dataclass(frozen=True, slots=True)
class Drift:
    """The images a head was lately asked about against those held out when it was fitted.

    Attributes
    ----------
    name, version : str, int
        Of the head.
    images, seen : int
        Images in the sample, and in all that the version was asked about.
    distance : DriftTest or None
        Of the distances to the nearest class; None where there are too few
        images, or the head keeps no distances.
    classes : DriftTest or None
        Of the shares of the classes among the answers.
    ratio : float or None
        The median distance of live images divided by that of held-out ones; None as `distance`.
    unknown, expected_unknown : float or None
        The share of live images over the threshold, and what is expected.
    unusual : list of Unusual
        The furthest first.
    """

    name: str
    version: int
    images: int
    seen: int
    distance: DriftTest | None = None
    classes: DriftTest | None = None
    ratio: float | None = None
    unknown: float | None = None
    expected_unknown: float | None = None
    unusual: Sequence[Unusual] = ()
