"""What tests of collections share: small collections of vectors of four values."""

import hashlib
from pathlib import Path

import numpy as np

from extractor.collections import Collection, Item
from extractor.settings import DataFolder

ONE, OTHER = "1" * 64, "2" * 64
DIM = 4


def make(data: DataFolder, name: str = "cats", dim: int = DIM) -> Collection:
    return Collection.open_or_create(data, name, fingerprint=ONE, dim=dim, backbone="lite0")


def item(id: str, *values: float) -> Item:
    return Item(id, np.array(values, np.float32), digest=hashlib.sha256(id.encode()).digest())


def ids(collection: Collection, *query: float, k: int = 10) -> list[str]:
    (matches,) = collection.search([query], k)
    return [match.id for match in matches]


def store_file(data: DataFolder, name: str = "cats") -> Path:
    return data.collections / name / "items.sqlite"
