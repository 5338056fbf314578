"""Penultimate: image embeddings computed once, for search and for classifiers trained in seconds.

```python
from extractor import Embedder

with Embedder() as embedder:
    for result in embedder.embed(["cat.jpg", "dog.jpg"]):
        print(result.embedding if result.ok else result.error)
```

`Client` and `AsyncClient` do the same through a running service.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extractor.client import AsyncClient, Client, HeadInput, NewItem, Query
    from extractor.collections import Collection
    from extractor.embedder import Embedder
    from extractor.results import Result
    from extractor.settings import DataFolder, Limits

__all__ = [
    "AsyncClient",
    "Client",
    "Collection",
    "DataFolder",
    "Embedder",
    "HeadInput",
    "Limits",
    "NewItem",
    "Query",
    "Result",
]

# Imported on first use: naming the package must not load gRPC, FAISS and ONNX Runtime.
_HOMES = {
    "AsyncClient": "client",
    "Client": "client",
    "Collection": "collections",
    "DataFolder": "settings",
    "Embedder": "embedder",
    "HeadInput": "client",
    "Limits": "settings",
    "NewItem": "client",
    "Query": "client",
    "Result": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"extractor.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
