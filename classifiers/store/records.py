"""The rows that a head was fitted and tested on, as a table beside it: `rows.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.data.dataset import Rejected
from classifiers.data.features import Features
from extractor.errors import DamagedFile, NotFound

if TYPE_CHECKING:
    from classifiers.training.train import Training

FILE = "rows.parquet"
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Row by row: which image, what it is, and on which side it was.

    Attributes
    ----------
    paths, digests, labels, splits : list of str
        Digests in hex; a split is "train" or "test".
    """

    paths: list[str]
    digests: list[str]
    labels: list[str]
    splits: list[str]

    @classmethod
    def of(cls, training: Training) -> Rows:
        """Those of a training; what only the saved head was fitted on is on the side of the others."""
        rows = cls([], [], [], [])
        for features, split in ((training.known, TRAIN), (training.aside, TRAIN), (training.unseen, TEST)):
            if features is not None:
                rows._extend(features, split)
        return rows

    def with_class(self, features: Features) -> Rows:
        """These and the images of a class that was added, all of them fitted on."""
        longer = Rows([*self.paths], [*self.digests], [*self.labels], [*self.splits])
        longer._extend(features, TRAIN)
        longer.splits[:] = [TRAIN] * len(longer.splits)
        return longer

    def trained_on(self) -> set[str]:
        """The digests of the rows that the tested head was fitted on."""
        return {d for d, split in zip(self.digests, self.splits, strict=True) if split == TRAIN}

    def held_out(self, seen: set[str]) -> Rows:
        """The rows that were held out and are none of those with the digests `seen`."""
        parts = (self.paths, self.digests, self.labels, self.splits)
        kept = [each for each in zip(*parts, strict=True) if each[3] == TEST and each[1] not in seen]
        return Rows(*([each[at] for each in kept] for at in range(len(parts))))

    def write(self, file: Path) -> None:
        """Write them as Parquet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        named = {"path": self.paths, "digest": self.digests, "label": self.labels, "split": self.splits}
        pq.write_table(pa.table({name: _column(values) for name, values in named.items()}), file)

    @classmethod
    def read(cls, folder: Path) -> Rows:
        """Those of a version.

        Raises
        ------
        NotFound
            When the head was saved without them.
        DamagedFile
            When the file cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = folder / FILE
        if not file.exists():
            raise NotFound(
                f"{folder} has no {FILE}: the head was not fitted by `fit-head`, and what it was fitted on "
                "is not known"
            )
        try:
            table = pq.read_table(file)
            return cls(*(_values(table[name]) for name in ("path", "digest", "label", "split")))
        except (pa.ArrowException, KeyError, OSError) as error:
            raise DamagedFile(f"{file} is damaged ({error}): fit the head again to have it") from error

    def _extend(self, features: Features, split: str) -> None:
        self.paths.extend(map(_absolute, features.images))
        self.digests.extend(features.digests.tolist())
        self.labels.extend(features.texts)
        self.splits.extend([split] * len(features.digests))


def _column(values: list[str]) -> Any:
    """Text, or bytes where a file or a folder has a name that is none."""
    import pyarrow as pa

    encoded = pa.array([value.encode("utf-8", "surrogateescape") for value in values], pa.binary())
    try:
        return encoded.cast(pa.string())
    except pa.ArrowInvalid:
        return encoded


def _values(column: Any) -> list[str]:
    import pyarrow as pa

    encoded = column.cast(pa.binary()).to_pylist()
    return [value.decode("utf-8", "surrogateescape") for value in encoded]


def _absolute(image: str) -> str:
    """So that it is found from another folder; what is no file is left as it is."""
    path = Path(image)
    return str(path.absolute()) if path.exists() else image


def at_hand(rows: Rows) -> tuple[list[int], list[Rejected]]:
    """The rows whose file is there, and the others with the reason."""
    present = [at for at, path in enumerate(rows.paths) if Path(path).is_file()]
    there = set(present)
    missing = [Rejected(path, "it is gone") for at, path in enumerate(rows.paths) if at not in there]
    return present, missing


def unchanged(rows: Rows, features: Features) -> tuple[Features, list[Rejected]]:
    """The features of images that are still what was labelled, and the others with the reason."""
    digest = dict(zip(rows.paths, rows.digests, strict=True))
    same = [digest[image] == found for image, found in zip(features.images, features.digests, strict=True)]
    changed = [
        Rejected(image, "it is another picture than the one that was labelled")
        for image, each in zip(features.images, same, strict=True)
        if not each
    ]
    return features.take(np.flatnonzero(same)), changed
