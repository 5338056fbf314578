"""Images in a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags

from extractor.results import Embeds, ImageLike, Vector


class EmbeddingTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns images into embeddings, as the first step of a pipeline.

    Parameters
    ----------
    source : Embeds
        An `Embedder` or a `Client`. It is frozen: clones share it, and what it
        remembers is not computed again in a grid search.

    Examples
    --------
    ::

        pipeline = make_pipeline(EmbeddingTransformer(Embedder()), StandardScaler(), LogisticRegression())
        pipeline.fit(paths, labels)
    """

    def __init__(self, source: Embeds) -> None:
        self.source = source

    def fit(self, X: Iterable[ImageLike], y: Any = None) -> EmbeddingTransformer:  # noqa: ARG002
        """Learn nothing; the backbone is frozen."""
        return self

    def transform(self, X: Iterable[ImageLike]) -> Vector:
        """The embeddings of n images (bytes, paths or PIL images): float32 of shape (n, dim).

        Raises
        ------
        InvalidImage
            Or whatever made the first unusable image unusable.
        """
        rows = []
        for result in self.source.stream(X):
            if result.embedding is None:
                raise result.error or RuntimeError("no embedding and no reason was given")
            rows.append(result.embedding)
        return np.stack(rows) if rows else np.empty((0, self.source.dim), dtype=np.float32)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def _n_features_out(self) -> int:
        """For `get_feature_names_out`, and with it `set_output`."""
        return self.source.dim

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True  # images, or where they lie
        tags.requires_fit, tags.no_validation = False, True
        return tags

    def __sklearn_clone__(self) -> EmbeddingTransformer:
        return type(self)(self.source)
