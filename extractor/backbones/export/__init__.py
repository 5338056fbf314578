"""From a PyTorch network with its weights to a bundle. Only this package imports torch, and only in calls.

The reference vectors come from the original network through timm's own
preprocessing, never from the exported file: they are what it is judged by.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from extractor.backbones import catalogue
from extractor.backbones.bundle import MODEL, Bundle, Manifest, exclusive, publish
from extractor.backbones.catalogue import Backbone
from extractor.backbones.export.graph import pooled, write_graph
from extractor.backbones.export.networks import original, reference
from extractor.backbones.export.weights import checked_weights
from extractor.backbones.proof import MIN_COSINE, write_golden
from extractor.errors import InvalidArgument, NotFound
from extractor.settings import DataFolder

LAYER = "global_pool"

_TOOLS = ("torch", "torchvision", "timm", "onnx", "onnxscript")


def export(
    name: str, data: DataFolder, *, force: bool = False, note: Callable[[str], None] = lambda _: None
) -> tuple[Bundle, bool]:
    """Make the bundle of one backbone in the data folder, unless it is there.

    Parameters
    ----------
    name : str
        See `extractor.backbones.catalogue`.
    data : DataFolder
    force : bool
        Make it again even when it is there, whole or damaged.
    note : callable
        Is told in a few words what is being done.

    Returns
    -------
    Bundle
    bool
        Whether it was made now; False when it was there.

    Raises
    ------
    NotFound
        No backbone of that name.
    InvalidArgument
        A package that exporting needs is not installed; says which.
    DamagedFile
        The bundle there, or the file of weights, is not what it should be.
    """
    backbone = catalogue.find(name)
    path = data.backbones / name
    if not force and (there := _opened(path)):
        return there, False
    weights = checked_weights(backbone)
    _check_tools()
    with exclusive(path):
        if not force and (there := _opened(path)):  # made by another process while this one waited
            return there, False
        return publish(
            _manifest(backbone), lambda folder: _write(backbone, weights, folder, note), path
        ), True


def _opened(path: Path) -> Bundle | None:
    try:
        return Bundle.open(path)
    except NotFound:
        return None


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        raise InvalidArgument(
            f"exporting needs {', '.join(missing)}, not installed here: "
            "run `pip install '.[export]'` in penultimate's folder (only the export needs it)"
        )


def _manifest(backbone: Backbone) -> Manifest:
    return Manifest(
        backbone=backbone.name,
        layer=LAYER,
        dim=backbone.dim,
        preprocessing=backbone.preprocessing,
        weights={
            "source": backbone.weights.source,
            "sha256": backbone.weights.sha256,
            "licence": backbone.weights.licence,
        },
        min_cosine=MIN_COSINE,
        exporter={package: version(package) for package in ("penultimate", *_TOOLS)},
    )


def _write(backbone: Backbone, weights: Path, folder: Path, note: Callable[[str], None]) -> None:
    """Write every file of the bundle but the manifest."""
    # Torch and timm warn of their own coming changes, which a user can do nothing about.
    with warnings.catch_warnings(action="ignore"):
        note("loading torch and the weights")
        network = original(backbone, weights)
        note("computing the reference vectors of the golden pictures")
        write_golden(folder / "golden", lambda image: reference(network, backbone, image)[0])
        _write_classifier(network, folder / "classifier")
        note("writing the ONNX graph")
        write_graph(pooled(network), backbone.preprocessing, folder / MODEL)


def _write_classifier(network: Any, folder: Path) -> None:
    from timm.data.imagenet_info import ImageNetInfo
    from torchvision.models._meta import _IMAGENET_CATEGORIES as CLASSES

    folder.mkdir()
    layer = network.get_classifier()
    np.save(folder / "weights.npy", layer.weight.numpy())
    np.save(folder / "bias.npy", layer.bias.numpy())
    info = ImageNetInfo()
    synsets = [info.index_to_label_name(index) for index in range(len(CLASSES))]
    names = {"classes": list(CLASSES), "synsets": synsets}
    (folder / "classes.json").write_text(
        json.dumps(names, indent=0, ensure_ascii=False) + "\n", encoding="utf-8"
    )
