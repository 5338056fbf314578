"""Fitting a linear head, until it converges."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from classifiers.penalty import Penalty, choose_penalty
from classifiers.recipes import Effort, Kind, Recipe, Scale, checked, quiet_single_threads

EFFORT: dict[Kind, Effort] = {"logistic": Effort(2000, 1e-4), "linear-svm": Effort(20000, 1e-4)}


def fit_head(
    X: ArrayLike,
    y: ArrayLike,
    *,
    kind: Kind = "logistic",
    scale: Scale = "standardise",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Pipeline:
    """Fit a classifier on embeddings, its penalty chosen by cross-validation.

    Parameters
    ----------
    X : array-like of shape (n, dim)
        Embeddings, as they come from the backbone.
    y : array-like of shape (n,)
        Labels, at least two different ones.
    kind, scale, seed
        See `Recipe`.
    groups : array-like of shape (n,), optional
        Rows of one group are held out together.

    Returns
    -------
    sklearn.pipeline.Pipeline
        A scaler and a `LogisticRegression` that holds the fitted weights,
        whichever kind fitted them.

    Raises
    ------
    InvalidArgument
        When `X` and `y` do not fit together, `X` has values that are not
        finite, or there is one class only.

    Examples
    --------
    >>> import numpy as np
    >>> from classifiers import fit_head
    >>> X = np.random.default_rng(0).normal(size=(40, 8)) + np.repeat([[0], [4]], 20, axis=0)
    >>> head = fit_head(X, ["cat"] * 20 + ["dog"] * 20)
    >>> head.predict(X[[0, -1]]).tolist()
    ['cat', 'dog']
    """
    recipe = Recipe(kind, scale, seed)
    pipeline, converged = fit(X, y, recipe, choose_penalty(X, y, recipe, groups))
    if not converged:
        warnings.warn("the fit was stopped before it converged", ConvergenceWarning, stacklevel=2)
    return pipeline


def fit(X: ArrayLike, y: ArrayLike, recipe: Recipe, penalty: Penalty) -> tuple[Pipeline, bool]:
    """Fit with a penalty that is known; parameters as in `choose_penalty`.

    Returns
    -------
    sklearn.pipeline.Pipeline
    bool
        Whether the fit converged.
    """
    X, y = checked(X, y)
    scaler, classifier = recipe.scaler(X), recipe.classifier(EFFORT)
    classifier.C = 1 / (penalty.strength * len(y))
    with quiet_single_threads():
        classifier.fit(scaler.transform(X), y)
    converged = bool(np.max(classifier.n_iter_) < classifier.max_iter)
    if recipe.kind == "linear-svm":
        weights, bias = (penalty.sharpness * part for part in (classifier.coef_, classifier.intercept_))
        classifier = softmax_layer(weights, bias, classifier.classes_)
    return Pipeline([("scale", scaler), ("classify", classifier)]), converged


def softmax_layer(weights: ArrayLike, bias: ArrayLike, classes: ArrayLike) -> LogisticRegression:
    """A fitted classifier whose probabilities are softmax(X @ weights.T + bias).

    Parameters
    ----------
    weights : array-like of shape (k, dim), or (1, dim) for two classes
        In the latter case they score the second class, as in scikit-learn.
    bias : array-like of shape (k,) or (1,)
    classes : array-like of shape (k,)
    """
    layer = LogisticRegression()
    layer.coef_ = np.asarray(weights, dtype=np.float32)
    layer.intercept_ = np.asarray(bias, dtype=np.float32)
    layer.classes_ = np.asarray(classes)
    layer.n_features_in_ = layer.coef_.shape[1]
    return layer
