"""What the layers compute is what scikit-learn, or the definition written out, computes."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from classifiers.layers import Kernel, Linear, Model, Neighbours, Normalise, Standardise, TwoLayer
from classifiers.layers.neighbours import SHARPNESS

RNG = np.random.default_rng(0)
DIM = 6
X = RNG.normal(3, 2, (60, DIM)).astype(np.float32)


def labels(classes):
    return np.arange(len(X)) % classes


def shifted(classes):
    return (X + labels(classes)[:, None]).astype(np.float32)


@pytest.fixture(params=["linear", "kernel", "neighbours", "two-layer"])
def model(request):
    rows, y = shifted(3), labels(3)
    scaling = Standardise.fit(rows)
    layers = {
        "linear": Linear(RNG.normal(size=(3, DIM)).astype("f4"), RNG.normal(size=3).astype("f4")),
        "kernel": Kernel(scaling(rows[:9]), RNG.normal(size=(3, 9)).astype("f4"), np.zeros(3, "f4"), 0.1),
        "neighbours": Neighbours(Normalise()(scaling(rows)), y, 3, 5),
        "two-layer": TwoLayer(
            RNG.normal(size=(4, DIM)).astype("f4"),
            RNG.normal(size=4).astype("f4"),
            RNG.normal(size=(3, 4)).astype("f4"),
            RNG.normal(size=3).astype("f4"),
        ),
    }
    return Model(scaling, layers[request.param], temperature=2.0)


def test_a_scaling_is_that_of_scikit_learn():
    np.testing.assert_allclose(Standardise.fit(X)(X), StandardScaler().fit_transform(X), atol=1e-4)
    np.testing.assert_allclose(Normalise()(X), Normalizer().transform(X), atol=1e-6)


def test_a_weight_of_two_scales_as_two_rows_do():
    weights = np.where(np.arange(len(X)) < 10, 2, 1)
    weighted, doubled = Standardise.fit(X, weights), Standardise.fit(np.concatenate([X, X[:10]]))
    np.testing.assert_allclose(weighted.mean, doubled.mean, rtol=1e-4)
    np.testing.assert_allclose(weighted.scale, doubled.scale, rtol=1e-4)


def test_a_column_that_never_varies_is_not_blown_up():
    still = X.copy()
    still[:, 0] = 7
    assert Standardise.fit(still).scale[0] > 0.02 * Standardise.fit(still).scale[1:].mean()
    assert np.isfinite(Standardise.fit(np.ones((4, 3), np.float32))(np.ones((4, 3), np.float32))).all()


def test_columns_of_very_different_units_count_alike():
    units = np.array([1e-2, 1, 1, 1, 1, 1e4], np.float32)
    np.testing.assert_allclose(Standardise.fit(X * units)(X * units).std(axis=0)[1:], 1, rtol=1e-3)
    np.testing.assert_allclose(
        Standardise.fit(np.tile(X, (300, 1))).scale, Standardise.fit(X).scale, rtol=1e-4
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_layer_has_the_probabilities_of_the_logistic_regression(classes):
    rows, y = shifted(classes), labels(classes)
    fitted = LogisticRegression(C=0.1).fit(rows, y)
    layer = Linear.of_scikit_learn(fitted.coef_, fitted.intercept_)
    np.testing.assert_allclose(softmax(layer.scores(rows), axis=1), fitted.predict_proba(rows), atol=1e-4)


def test_a_kernel_layer_has_the_scores_of_the_support_vector_machine():
    rows, y = shifted(2), labels(2)
    machine = SVC(gamma=0.05).fit(rows, y)
    layer = Kernel(
        machine.support_vectors_.astype("f4"),
        machine.dual_coef_.astype("f4"),
        machine.intercept_.astype("f4"),
        0.05,
    )
    np.testing.assert_allclose(layer.scores(rows)[:, 0], machine.decision_function(rows), atol=1e-3)


def test_the_neighbours_vote_by_their_cosine():
    y = labels(3)
    layer = Neighbours(Normalise()(X), y, 3, 5)
    query = X[7] + 0.1
    cosines = X @ query / np.linalg.norm(X, axis=1) / np.linalg.norm(query)
    nearest = np.argsort(-cosines)[:5]
    votes = [np.exp((cosines[nearest][y[nearest] == label] - 1) * SHARPNESS).sum() for label in range(3)]
    assert layer.scores(query[None])[0].argmax() == np.argmax(votes)
    best = np.argmax(votes)
    assert layer.scores(query[None])[0, best] == pytest.approx(np.log(votes[best]), abs=1e-2)


def test_a_two_layer_head_has_the_probabilities_of_the_perceptron():
    rows, y = shifted(3), labels(3)
    fitted = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=5000, random_state=0).fit(rows, y)
    layer = TwoLayer(fitted.coefs_[0].T, fitted.intercepts_[0], fitted.coefs_[1].T, fitted.intercepts_[1])
    np.testing.assert_allclose(softmax(layer.scores(rows), axis=1), fitted.predict_proba(rows), atol=1e-4)


def test_no_row_has_no_scores(model):
    assert model.probabilities(np.empty((0, DIM), np.float32)).shape == (0, 3)


def test_probabilities_sum_to_one_unless_each_class_is_a_question_of_its_own(model):
    np.testing.assert_allclose(model.probabilities(X).sum(axis=1), 1)
    many = Model(model.scaling, model.layer, 1.0, multi_label=True)
    np.testing.assert_allclose(many.probabilities(X), 1 / (1 + np.exp(-model.scores(X))))


def test_a_higher_temperature_is_less_sure_and_answers_the_same(model):
    warm = model.cooled(10.0)
    assert (warm.probabilities(X).argmax(axis=1) == model.probabilities(X).argmax(axis=1)).all()
    assert warm.probabilities(X).max(axis=1).mean() < model.probabilities(X).max(axis=1).mean()


def described(model):
    return {
        "scaling": model.scaling.name,
        "layer": model.layer.name,
        "dim": DIM,
        "classes": 3,
        "temperature": model.temperature,
    }


def test_what_is_stored_computes_the_same_to_the_last_bit(model):
    again = Model.of(model.arrays(), **described(model))
    np.testing.assert_array_equal(again.probabilities(X), model.probabilities(X))


def test_an_array_that_is_missing_or_has_another_shape_or_is_not_finite_is_refused(model):
    for name, array in model.arrays().items():
        others = {each: value for each, value in model.arrays().items() if each != name}
        spoilt = array.astype(np.float32)
        spoilt.flat[0] = np.nan
        for wrong in ({}, {name: array[None]}, {name: spoilt}):
            with pytest.raises(ValueError, match=name.replace(".", r"\.")):
                Model.of({**others, **wrong}, **described(model))


@pytest.mark.parametrize("wrong", [{"scaling": "none"}, {"layer": "deep"}, {"temperature": 0.0}])
def test_a_description_that_cannot_be_is_refused(model, wrong):
    with pytest.raises(ValueError, match=r"temperature|no scaling"):
        Model.of(model.arrays(), **described(model) | wrong)


def test_stored_arrays_lie_in_one_piece(model):
    """A transposed view would be written in the order of its memory, not of its rows."""
    turned = Model(
        model.scaling, Linear(np.asfortranarray(np.eye(3, DIM, dtype="f4")), np.ones(6, "f4")[::2])
    )
    assert all(array.flags.c_contiguous for array in turned.arrays().values())
