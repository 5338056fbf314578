"""Fitting a head: its kind and setting chosen, then all rows, until it converges."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS, Rows
from classifiers.layers import Model
from classifiers.training.recipes import Kind, Recipe, Scale, quiet_single_threads
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice


def fit(labelled: Labelled, recipe: Recipe, choice: Choice) -> tuple[Model, bool]:
    """Fit all rows with a kind and setting that are chosen.

    Returns
    -------
    Model
    bool
        Whether the fit converged.
    """
    labelled = labelled.augmented()
    scaling = recipe.scaling(labelled.X, labelled.weights)
    rows = Rows(scaling(labelled.X), labelled.y, labelled.weights, len(labelled.classes), recipe.seed)
    with quiet_single_threads():
        fitter = KINDS[choice.kind].fitter(rows, True)
        layer = fitter(choice.setting)
    return Model(scaling, layer, choice.temperature, labelled.multi_label), fitter.converged


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier on embeddings whose settings are chosen by cross-validation.

    Parameters
    ----------
    kind, scale, seed, class_weight
        See `Recipe`.

    Attributes
    ----------
    classes_ : array of shape (classes,)
    model_ : Model
        What was fitted.
    choice_ : Choice
        The kind and setting, and what cross-validation said of each.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from classifiers import HeadClassifier
    >>> X = np.random.default_rng(0).normal(size=(40, 8)) + np.repeat([[0], [4]], 20, axis=0)
    >>> head = HeadClassifier().fit(X, ["cat"] * 20 + ["dog"] * 20)
    >>> head.predict(X[[0, -1]]).tolist()
    ['cat', 'dog']
    """

    def __init__(
        self,
        kind: Kind = "logistic",
        scale: Scale = "standardise",
        seed: int = 0,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
    ) -> None:
        self.kind = kind
        self.scale = scale
        self.seed = seed
        self.class_weight = class_weight

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> HeadClassifier:
        """Choose the setting, and fit.

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Embeddings, as they come from the backbone.
        y : array-like of shape (n,)
            Labels, at least two different ones.
        sample_weight : array-like of shape (n,), optional
        groups : array-like of shape (n,), optional
            Rows of one group are held out together.

        Raises
        ------
        InvalidArgument
            When they do not fit together, or there is one class only.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        recipe = Recipe(self.kind, self.scale, self.seed, self.class_weight)
        labelled = Labelled.of(X, y, groups=groups, weights=sample_weight, class_weight=recipe.class_weight)
        labelled = labelled.take(labelled.weights > 0)
        self.classes_ = np.unique(y)
        self.choice_ = choose(labelled, recipe)
        self.model_, converged = fit(labelled, recipe, self.choice_)
        if not converged:
            warnings.warn("the fit was stopped before it converged", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """The scores of rows of shape (n, dim): (n, classes), or (n,) for the second of two classes."""
        scores = self._fitted.scores(self._rows(X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class for rows of shape (n, dim): shape (n, classes)."""
        return self._fitted.probabilities(self._rows(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each row of `X`, of shape (n, dim)."""
        places = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[places]
        return labels

    @property
    def _fitted(self) -> Model:
        check_is_fitted(self)
        return self.model_

    def _rows(self, X: ArrayLike) -> Any:
        return validate_data(self, X, reset=False, dtype=np.float32)


def fit_head(
    X: ArrayLike,
    y: ArrayLike,
    *,
    kind: Kind = "logistic",
    scale: Scale = "standardise",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> HeadClassifier:
    """Fit a `HeadClassifier`, in one call; parameters as there."""
    return HeadClassifier(kind, scale, seed).fit(X, y, groups=groups)
