"""Labelled embeddings from files: NumPy's `.npz` and Parquet, of whatever embedding."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.dataset import Dataset, Rejected, weight_refused
from classifiers.data.features import Features, gathered
from classifiers.data.labels import cleaned, joined, parted
from classifiers.data.parts import part_named, settled
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.results import Vector

VECTORS = ("embeddings", "vectors", "x")
LABELS = ("labels", "label", "y")

_NAMES = {
    "vectors": VECTORS,
    "labels": LABELS,
    "ids": ("ids", "id", "paths", "path"),
    "digests": ("digests", "digest"),
    "errors": ("error", "errors"),
    "splits": ("splits", "split"),
    "groups": ("groups", "group"),
    "weights": ("weights", "weight"),
}
"""What each column may be called, in small letters."""

_FACTS = ("fingerprint", "backbone")
_TORN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)


class Matrix(NamedTuple):
    """Labelled embeddings from a file.

    Attributes
    ----------
    features : Features
    origin : str
        What made the vectors, for a person: the backbone where the file names it, else the file.
    """

    features: Features
    origin: str


def is_matrix(path: Path) -> bool:
    """Whether a file has vectors in it: `.npz`, and Parquet with a column of them.

    Raises
    ------
    DamagedFile
        When it cannot be read as Parquet, which its name says it is.
    """
    if path.suffix.lower() == ".npz":
        return True
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    return any(name.lower() in VECTORS for name in names)


def read_matrix(path: Path, *, multi_label: bool = False) -> Matrix:
    """The labelled embeddings of a `.npz` or `.parquet` file.

    It has `embeddings` (n x dim) and `labels` (n), and may have `ids`,
    `digests` (hex), `split`, `group` and `weight`, as `penultimate embed --out`
    and `penultimate collections export` call them, or nearly so. Rows with
    an error, without a label, or with values that are not finite are left out.

    A file that does not say by its `fingerprint` what made its vectors gets
    the SHA-256 of them for it, so that they are never mixed with others.

    Raises
    ------
    NotFound, InvalidArgument, DamagedFile
        When it is not there, is no such file, or cannot be read.
    """
    if not path.is_file():
        raise NotFound(f"no such file: {path}")
    columns, facts = (_of_npz if path.suffix.lower() == ".npz" else _of_parquet)(path)
    X, reasons = _vectors(path, columns)
    dataset, kept = _dataset(path, columns, reasons, multi_label)
    digests = _digests(_texts(path, columns, "digests", len(X)), X, kept)
    fingerprint = facts.get("fingerprint") or hashlib.sha256(X.tobytes()).hexdigest()
    features = gathered(dataset, X[kept], digests, fingerprint)
    return Matrix(features, facts.get("backbone") or path.name)


def _of_npz(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with _zipped(path) as stream, np.load(stream, allow_pickle=False) as archive:
            named = {name.lower(): name for name in archive.files}
            facts = {n: str(archive[named[n]]) for n in _FACTS if n in named}
            columns = {what: archive[named[own]] for what, own in _found(path, named).items()}
    except InvalidArgument:
        raise
    except _TORN as error:
        if "allow_pickle" in str(error):
            raise InvalidArgument(
                f"{path} holds Python objects, which are never read: save the labels as text, "
                "labels.astype(str)"
            ) from None
        raise _damaged(path, error) from None
    return columns, facts


def _zipped(path: Path) -> BinaryIO:
    """The file, opened; of another kind NumPy would say that it has Python objects."""
    stream = path.open("rb")
    if not zipfile.is_zipfile(stream):
        stream.close()
        raise zipfile.BadZipFile("an .npz file is a zip archive of arrays, and this is none")
    stream.seek(0)
    return stream


def _of_parquet(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            named = {name.lower(): name for name in file.schema_arrow.names}
            found = _found(path, named)
            table = file.read(columns=[named[own] for own in found.values()])
            said = file.schema_arrow.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    columns = {what: table[named[own]].to_pylist() for what, own in found.items() if what != "vectors"}
    columns["vectors"] = _lists(path, table[named[found["vectors"]]])
    facts = {
        name: said.get(name.encode(), b"").decode(errors="replace") for name in ("fingerprint", "backbone")
    }
    return columns, facts


def _lists(path: Path, column: Any) -> Any:
    """A column of lists as a matrix; as a list of rows when they are not of one length."""
    whole = column.combine_chunks()
    lengths = set(whole.value_lengths().to_pylist()) if hasattr(whole, "value_lengths") else set()
    try:
        if len(lengths) == 1 and None not in lengths:
            return np.asarray(whole.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(
                len(whole), -1
            )
        return [None if row is None else np.asarray(row, np.float32) for row in whole.to_pylist()]
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the vectors of {path} are not lists of numbers ({error})") from None


def _found(path: Path, named: Mapping[str, str]) -> dict[str, str]:
    """Of each of our columns, in small letters, the name that it has there."""
    found = {
        what: next(own for own in names if own in named)
        for what, names in _NAMES.items()
        if any(own in named for own in names)
    }
    if missing := [_NAMES[what][0] for what in ("vectors", "labels") if what not in found]:
        there = ", ".join(named.values()) or "nothing"
        raise InvalidArgument(
            f"{path} has no {missing[0]}: to fit a head on a matrix it needs embeddings and labels; "
            f"it has: {there}"
        )
    return found


def _vectors(path: Path, columns: Mapping[str, Any]) -> tuple[Vector, list[str]]:
    """The matrix, and for each row why it cannot be used; empty when it can."""
    rows = columns["vectors"]
    if isinstance(rows, list):
        dim = max((len(row) for row in rows if row is not None), default=0)
        reasons = [
            "" if row is not None and len(row) == dim else f"it has {_length(row)} and the widest {dim}"
            for row in rows
        ]
        blank = np.full(dim, np.nan, np.float32)
        X = np.stack([blank if reason else row for row, reason in zip(rows, reasons, strict=True)] or [blank])
    else:
        if rows.ndim != 2 or not rows.shape[1] or rows.dtype.kind not in "fiu":
            raise InvalidArgument(
                f"the embeddings of {path} must be a matrix of numbers, one row an image; they are "
                f"{rows.dtype} of shape {rows.shape}"
            )
        with np.errstate(over="ignore"):  # what is too large for float32 is not finite there
            X, reasons = np.ascontiguousarray(rows, np.float32), [""] * len(rows)
    for row in np.flatnonzero(~np.isfinite(X).all(axis=1)).tolist():
        reasons[row] = reasons[row] or "it has values that are not finite"
    return X, reasons


def _length(row: Any) -> str:
    return "no vector" if row is None else f"{len(row)} values"


def _dataset(
    path: Path, columns: Mapping[str, Any], reasons: Sequence[str], multi_label: bool
) -> tuple[Dataset, NDArray[np.intp]]:
    """What is said of the rows that can be used, and which these are."""
    n = len(reasons)
    texts = {
        what: _texts(path, columns, what, n)
        for what in ("ids", "labels", "errors", "splits", "groups", "weights")
    }
    images = [id or f"{path}, row {row}" for row, id in enumerate(texts["ids"], 1)]
    rejected, kept = [], []
    for row, label in enumerate(texts["labels"]):
        why = texts["errors"][row] or reasons[row] or weight_refused(texts["weights"][row])
        if why := why or ("" if label else "it has no label"):
            rejected.append(Rejected(images[row], why))
        else:
            kept.append(row)
    splits = [part_named(text, f"{path}, row {row}") for row, text in enumerate(texts["splits"], 1)]
    labels = [joined(parted(text)) if multi_label else text for text in texts["labels"]]
    weights = [float(text or 1) if not weight_refused(text) else 1.0 for text in texts["weights"]]
    whole = Dataset(images, labels, rejected, splits, texts["groups"], weights, multi_label)
    used = whole.take(kept)
    parts, groups = settled(used.parts, str(path)), used.groups if any(used.groups) else []
    return replace(used, parts=parts, groups=groups), np.array(kept, np.intp)


def _texts(path: Path, columns: Mapping[str, Any], what: str, n: int) -> list[str]:
    """A column as texts; empty ones where there is none."""
    if what not in columns:
        return [""] * n
    column = columns[what]
    shape = column.shape if isinstance(column, np.ndarray) else (len(column),)
    if shape != (n,):
        raise InvalidArgument(f"{path} has {n} embeddings, and {what} of shape {shape}: one for each")
    return [cleaned(value) for value in (column.tolist() if isinstance(column, np.ndarray) else column)]


def _digests(said: Sequence[str], X: Vector, kept: NDArray[np.intp]) -> list[str]:
    """Of the images; where they are not said, of the vectors, so that copies are found."""
    return [said[row] or hashlib.sha256(X[row].tobytes()).hexdigest() for row in kept.tolist()]


def _damaged(path: Path, reason: object) -> DamagedFile:
    return DamagedFile(f"{path} cannot be read as what its name says ({reason}): make it anew")
