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
    from classifiers.comparing.comparison import Comparison, Entrant, Row, compare
    from classifiers.data.dataset import Dataset, Rejected
    from classifiers.data.features import Features, embed
    from classifiers.data.splits import folds, split
    from classifiers.distribution.rejection import Rejection
    from classifiers.distribution.statistics import Statistics
    from classifiers.evaluation.baselines import Colours
    from classifiers.evaluation.evaluate import Metrics
    from classifiers.evaluation.paired import Difference
    from classifiers.heads import Answer, Classification, Head, HeadManifest, imagenet_head
    from classifiers.serving import ServedHeads
    from classifiers.store.versions import load_head, promote, rollback, save_head
    from classifiers.training.fitting import HeadClassifier, fit_head
    from classifiers.training.recipes import Recipe
    from classifiers.training.train import Training, train
    from classifiers.transformer import EmbeddingTransformer

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
    "evaluation.baselines": ("Colours",),
    "comparing.comparison": ("Comparison", "Entrant", "Row", "compare"),
    "data.dataset": ("Dataset", "Rejected"),
    "evaluation.evaluate": ("Metrics",),
    "evaluation.paired": ("Difference",),
    "data.features": ("Features", "embed"),
    "training.fitting": ("HeadClassifier", "fit_head"),
    "heads": ("Answer", "Classification", "Head", "HeadManifest", "imagenet_head"),
    "training.recipes": ("Recipe",),
    "distribution.rejection": ("Rejection",),
    "serving": ("ServedHeads",),
    "data.splits": ("folds", "split"),
    "training.train": ("Training", "train"),
    "distribution.statistics": ("Statistics",),
    "transformer": ("EmbeddingTransformer",),
    "store.versions": ("load_head", "promote", "rollback", "save_head"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
