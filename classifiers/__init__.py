"""Classifiers on embeddings: fit a head, test it, save it, use it.

```python
from classifiers import fit_head, load_head

classifier = fit_head(X, y)               # a scikit-learn classifier
head = load_head("cells")                 # what `fit-head --name cells` saved
found = next(head.classify(embedder, ["cell.png"]))
```

Names are imported when they are first used, so that `fit-head --help` does
not wait for scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classifiers.baselines import Colours
    from classifiers.comparison import Comparison, Difference, Entrant, Row, compare
    from classifiers.dataset import Dataset, Rejected
    from classifiers.evaluate import Metrics
    from classifiers.features import Features, embed
    from classifiers.fitting import HeadClassifier, fit_head
    from classifiers.heads import Answer, Classification, Head, HeadManifest, imagenet_head
    from classifiers.recipes import Recipe
    from classifiers.rejection import Rejection
    from classifiers.serving import ServedHeads
    from classifiers.splits import folds, split
    from classifiers.statistics import Statistics
    from classifiers.training import Training, train
    from classifiers.transformer import EmbeddingTransformer
    from classifiers.versions import load_head, promote, rollback, save_head

__all__ = [
    "Answer",
    "Classification",
    "Colours",
    "Comparison",
    "Dataset",
    "Difference",
    "EmbeddingTransformer",
    "Entrant",
    "Features",
    "Head",
    "HeadClassifier",
    "HeadManifest",
    "Metrics",
    "Recipe",
    "Rejected",
    "Rejection",
    "Row",
    "ServedHeads",
    "Statistics",
    "Training",
    "compare",
    "embed",
    "fit_head",
    "folds",
    "imagenet_head",
    "load_head",
    "promote",
    "rollback",
    "save_head",
    "split",
    "train",
]

_MODULES = {
    "baselines": ("Colours",),
    "comparison": ("Comparison", "Difference", "Entrant", "Row", "compare"),
    "dataset": ("Dataset", "Rejected"),
    "evaluate": ("Metrics",),
    "features": ("Features", "embed"),
    "fitting": ("HeadClassifier", "fit_head"),
    "heads": ("Answer", "Classification", "Head", "HeadManifest", "imagenet_head"),
    "recipes": ("Recipe",),
    "rejection": ("Rejection",),
    "serving": ("ServedHeads",),
    "splits": ("folds", "split"),
    "training": ("Training", "train"),
    "statistics": ("Statistics",),
    "transformer": ("EmbeddingTransformer",),
    "versions": ("load_head", "promote", "rollback", "save_head"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
