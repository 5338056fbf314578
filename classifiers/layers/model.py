"""From embeddings to probabilities: the whole of what a head computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.layers.arrays import Arrays
from classifiers.layers.kernel import Kernel
from classifiers.layers.linear import Linear
from classifiers.layers.neighbours import Neighbours
from classifiers.layers.scaling import SCALINGS, Scaling
from classifiers.layers.two_layer import TwoLayer
from extractor.results import Vector


class Layer(Protocol):
    """Scores of scaled rows."""

    @property
    def name(self) -> str:
        """What the layer is called in a head's file."""
        ...

    def arrays(self) -> Arrays:
        """What is stored of it."""
        ...

    def scores(self, X: Vector) -> NDArray[np.float64]:
        """The scores of scaled rows of shape (n, dim): shape (n, classes)."""
        ...


LAYERS: dict[str, type[Linear] | type[Kernel] | type[Neighbours] | type[TwoLayer]] = {
    layer.name: layer for layer in (Linear, Kernel, Neighbours, TwoLayer)
}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A scaling, a layer, and a temperature.

    Attributes
    ----------
    scaling : Scaling
    layer : Layer
    temperature : float
        The scores are divided by it: Guo et al., On Calibration of Modern
        Neural Networks (2017). Above zero.
    multi_label : bool
        Each class is a question of its own: probabilities do not sum to one.
    """

    scaling: Scaling
    layer: Layer
    temperature: float = 1.0
    multi_label: bool = False

    @classmethod
    def of(
        cls,
        arrays: Arrays,
        *,
        scaling: str,
        layer: str,
        dim: int,
        classes: int,
        temperature: float = 1.0,
        multi_label: bool = False,
    ) -> Model:
        """Build it from what was stored.

        Raises
        ------
        ValueError
            When an array is missing or does not fit, or a name is unknown.
        """
        if scaling not in SCALINGS or layer not in LAYERS:
            raise ValueError(f"there is no scaling {scaling!r} or no layer {layer!r}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"the temperature must be above zero, not {temperature}")
        return cls(
            SCALINGS[scaling].of(arrays, dim),
            LAYERS[layer].of(arrays, dim, classes),
            temperature,
            multi_label,
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything that is stored as arrays, each in one piece: safetensors writes bytes as they lie."""
        parts = {**self.scaling.arrays(), **self.layer.arrays()}
        return {name: np.ascontiguousarray(array) for name, array in parts.items()}

    def cooled(self, temperature: float) -> Model:
        """The same with another temperature."""
        return replace(self, temperature=temperature)

    def scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """What the layer says of embeddings of shape (n, dim), before the temperature: shape (n, classes)."""
        return self.layer.scores(self.scaling(np.ascontiguousarray(X, np.float32)))

    def probabilities(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class for embeddings of shape (n, dim): shape (n, classes)."""
        return probabilities(self.scores(X) / self.temperature, self.multi_label)


def probabilities(logits: NDArray[np.float64], multi_label: bool = False) -> NDArray[np.float64]:
    """Logits of shape (n, classes) as probabilities: a softmax, or one sigmoid for each class."""
    if multi_label:
        return np.asarray(np.exp(-np.logaddexp(0, -logits)))
    found: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found
