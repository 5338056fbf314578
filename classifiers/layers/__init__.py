"""What a fitted head computes, as arrays: a scaling of the embedding, a layer of scores, probabilities.

Every kind of head ends as one of four layers, so that a head on disk is
arrays and numbers, and nothing of it has to be trusted to be run.
"""

from __future__ import annotations

from classifiers.layers.kernel import Kernel
from classifiers.layers.linear import Linear, for_both
from classifiers.layers.model import Layer, Model
from classifiers.layers.neighbours import Neighbours
from classifiers.layers.scaling import Normalise, Plain, Scaling, Standardise
from classifiers.layers.two_layer import TwoLayer

__all__ = [
    "Kernel",
    "Layer",
    "Linear",
    "Model",
    "Neighbours",
    "Normalise",
    "Plain",
    "Scaling",
    "Standardise",
    "TwoLayer",
    "for_both",
]
