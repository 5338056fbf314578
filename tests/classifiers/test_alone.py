"""A head asked of one image says what it says of that image among others."""

import numpy as np
import pytest

from classifiers import Head, HeadManifest
from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import Rejection
from classifiers.training.fitting import HeadClassifier

WIDTH, CLASSES = 64, 5


def drawn(seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(3, 2, (CLASSES, WIDTH))
    y = np.arange(300) % CLASSES
    return (centres[y] + rng.normal(0, spread, (300, WIDTH))).astype(np.float32), y


def head_of(kind: str, scale: str = "standardise") -> Head:
    X, y = drawn(1)
    labels = np.array(list("abcde"))[y]
    model = HeadClassifier(kind, scale=scale).fit(X, labels).model_
    manifest = HeadManifest("h", kind, list("abcde"), "f" * 64, "b", WIDTH)
    return Head(manifest, model.cooled(1.7), rejection=Rejection.fit(Labelled.of(X, labels)))


@pytest.mark.parametrize("kind", ["logistic", "linear-svm", "ridge"])
def test_one_image_is_answered_as_among_others(kind: str) -> None:
    head = head_of(kind)
    X = np.concatenate([drawn(2)[0], drawn(3, 4.0)[0]])
    together = head.judge(X)

    alone = [head.judge(row[None])[0] for row in X]

    assert head._alone is not None
    assert 50 < sum(each.unknown for each in together) < 550
    assert [each.label for each in alone] == [each.label for each in together]
    for one, other in zip(alone, together, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)
        assert [each.label for each in one.answers] == [each.label for each in other.answers]
        np.testing.assert_allclose(
            [each.probability for each in one.answers],
            [each.probability for each in other.answers],
            rtol=2e-4,
            atol=1e-9,
        )


@pytest.mark.parametrize(("kind", "scale"), [("knn", "standardise"), ("logistic", "normalise")])
def test_what_is_no_matrix_is_answered_by_the_model(kind: str, scale: str) -> None:
    head = head_of(kind, scale)
    (row,) = drawn(2)[0][:1]

    assert head._alone is None
    assert head.judge(row[None])[0].answers[0].probability == head.predict_proba(row[None]).max()


def test_who_rejects_nothing_is_told_no_distance() -> None:
    found = head_of("logistic").judge(100 * drawn(2)[0][:1], reject=False)[0]

    assert (found.unknown, found.score) == (False, None)
