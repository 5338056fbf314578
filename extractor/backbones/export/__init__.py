"""From a PyTorch network with its weights to a bundle. Only this package imports torch, and only in calls.

The reference vectors come from the original network through its library's own
preprocessing, never from the exported file: they are what it is judged by.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from extractor.backbones import nearness
from extractor.backbones.bundle import MODEL, USERS_FILE, Bundle, Manifest, check_exported, made_once, publish
from extractor.backbones.catalogue import Backbone
from extractor.backbones.export.cutting import changed
from extractor.backbones.export.graph import write_graph
from extractor.backbones.export.layers import fit_size
from extractor.backbones.export.networks import classifier, original, penultimate, reference, transform
from extractor.backbones.export.proving import check_model, check_vectors
from extractor.backbones.export.timm_models import find
from extractor.backbones.export.weights import read_state, sha256, state_sha256, weights_of
from extractor.backbones.proof import MIN_COSINE, write_golden
from extractor.backbones.variant import Variant, folder_of, split_name
from extractor.errors import InvalidArgument
from extractor.results import Vector
from extractor.settings import DataFolder

_CLASSES = 1000
"""Of ImageNet; a classifier for others has no names here, and is not kept."""

Judge: TypeAlias = Callable[[Image.Image], Vector]
"""From a picture to float32 [dim], by PyTorch alone."""

_UNCHANGED = Variant()
_TOOLS = ("torch", "torchvision", "timm", "onnx", "onnxscript")


def export(
    name: str,
    data: DataFolder,
    variant: Variant = _UNCHANGED,
    *,
    weights: Path | None = None,
    force: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Bundle, bool]:
    """Make the bundle of one backbone in the data folder, unless it is there; says whether it was made now.

    Parameters
    ----------
    name : str
        One of the catalogue's, or `timm/NAME` for any model of timm; with a variant's suffix, perhaps.
    data : DataFolder
    variant : Variant
        What is changed about it; makes a bundle of its own.
    weights : Path, optional
        A file of weights, `.pth` or `.safetensors`; the published ones when left out.
    force : bool
        Make it again even when it is there, whole or damaged.
    note : callable
        Is told in a few words what is being done.

    Raises
    ------
    NotFound, InvalidArgument
        No backbone has that name, or it cannot be made; says why. A bundle that is there stays as it is.
    DamagedFile
        The bundle there, or the file of weights, is not what it should be.
    """
    name, variant = _named(name, variant)
    check_exported(
        data, name, f"is made again by `penultimate import MODEL --spec SPEC --name {name} --force`"
    )
    path = data.backbones / (folder_of(name) + variant.suffix)
    prepare = partial(_prepared, name, variant, weights, path, note)
    with warnings.catch_warnings(action="ignore"):  # of torch's and timm's own coming changes
        return made_once(path, partial(_check_weights, weights), prepare, force=force)


def original_of(name: str, weights: Path | None = None) -> tuple[Path, Judge]:
    """The file of weights, and what the original network makes of pictures with them: what ours is judged by.

    Parameters and errors are those of `export`.
    """
    name, variant = _named(name, _UNCHANGED)
    _check_tools()
    with warnings.catch_warnings(action="ignore"):
        backbone = _sized(find(name), variant.size)
        file = weights_of(backbone, weights)
        network = original(backbone, file)
        return file, _judge(network, _changed(network, backbone, variant), backbone, variant)


def _named(name: str, variant: Variant) -> tuple[str, Variant]:
    """The backbone and what is changed about it, which its name or `variant` may say."""
    backbone, named = split_name(name)
    if named != _UNCHANGED and variant != _UNCHANGED:
        raise InvalidArgument(f"the name {name} says already what is changed: leave out{variant.options}")
    return backbone, variant if named == _UNCHANGED else named


def _sized(backbone: Backbone, size: int | None) -> Backbone:
    if size == min(backbone.shape):
        raise InvalidArgument(f"{backbone.name} takes pictures of {size} px anyway: leave the size out")
    return backbone.at(size) if size else backbone


def _check_weights(weights: Path | None, there: Bundle) -> None:
    """InvalidArgument when the bundle that is there has other weights than those that are given."""
    if weights is None or sha256(weights) == there.manifest.weights["sha256"]:
        return
    _check_tools()
    read_state(weights)  # what is no file of weights is told so first
    raise InvalidArgument(f"{there.path} was made from other weights than {weights}: replace it with --force")


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        raise InvalidArgument(
            f"exporting needs {', '.join(missing)}, not installed here: "
            "run `pip install '.[export]'` in penultimate's folder (only the export needs it)"
        )


def _prepared(
    name: str, variant: Variant, weights: Path | None, path: Path, note: Callable[[str], None]
) -> Callable[[], Bundle]:
    """Find the network and its weights; what makes the bundle of them."""
    _check_tools()
    backbone = _sized(find(name), variant.size)
    file = weights_of(backbone, weights, note)
    return partial(_published, backbone, variant, file, weights is not None, path, note)


def _published(
    backbone: Backbone,
    variant: Variant,
    file: Path,
    own: bool,
    path: Path,
    note: Callable[[str], None],
) -> Bundle:
    """Make the bundle at `path`; `own` says that the weights are the user's."""
    note("loading torch and the weights")
    network = original(backbone, file)
    weights = _origin(backbone, file, own, network)  # of the network as it is published
    embedding = _changed(network, backbone, variant)
    manifest = Manifest(
        backbone=backbone.name + variant.suffix,
        layer=variant.layer,
        dim=_dim(embedding, backbone) if variant.cuts else backbone.dim,
        preprocessing=replace(backbone.preprocessing, decode=variant.profile),
        weights=weights,
        min_cosine={**MIN_COSINE, **nearness.bounds(variant.profile)},
        exporter={package: version(package) for package in ("penultimate", *_TOOLS)},
    )

    def write(folder: Path) -> None:
        note("computing the reference vectors of the golden pictures")
        golden = write_golden(folder / "golden", _judge(network, embedding, backbone, variant))
        check_vectors(golden)
        if not variant.cuts:
            _write_classifier(network, folder / "classifier")
        note("writing the ONNX graph")
        write_graph(embedding, backbone.preprocessing, folder / MODEL)
        check_model(folder / MODEL, backbone.preprocessing, golden, manifest.min_cosine["fp32"])

    return publish(manifest, write, path)


def _changed(network: Any, backbone: Backbone, variant: Variant) -> Any:
    """What the variant keeps of the network, which takes pictures of the variant's size from now on."""
    if variant.size:
        fit_size(network, *backbone.shape)
    return changed(penultimate(network), network, variant, backbone.shape)


def _origin(backbone: Backbone, file: Path, own: bool, network: Any) -> dict[str, str]:
    """What the manifest says of the weights."""
    return {
        "source": f"{USERS_FILE}{file.name}" if own else backbone.weights.source,
        "sha256": sha256(file),
        "state_sha256": state_sha256(network.state_dict()),
        "licence": "unknown" if own else backbone.weights.licence,
    }


def _dim(embedding: Any, backbone: Backbone) -> int:
    import torch

    return int(embedding(torch.zeros(1, 3, *backbone.shape)).shape[1])


def _judge(network: Any, embedding: Any, backbone: Backbone, variant: Variant) -> Judge:
    """What PyTorch makes of a picture behind the library's own preprocessing: what ours is compared with."""
    if not variant.cuts and variant.views == "plain":
        return lambda image: reference(network, backbone, image)[0]
    prepare = transform(backbone)

    def judge(image: Image.Image) -> Vector:
        vector: Vector = embedding(prepare(image.convert("RGB"))[None])[0].numpy()
        return vector

    return judge


def _write_classifier(network: Any, folder: Path) -> None:
    """Write the network's own classifier, when it has one whose classes are ImageNet's."""
    from timm.data.imagenet_info import ImageNetInfo
    from torchvision.models._meta import _IMAGENET_CATEGORIES as CLASSES

    layer = classifier(network)
    if layer is None or layer.out_features != _CLASSES:
        return
    folder.mkdir()
    np.save(folder / "weights.npy", layer.weight.numpy())
    bias = np.zeros(_CLASSES, np.float32) if layer.bias is None else layer.bias.numpy()
    np.save(folder / "bias.npy", bias)
    info = ImageNetInfo()
    synsets = [info.index_to_label_name(index) for index in range(len(CLASSES))]
    names = {"classes": list(CLASSES), "synsets": synsets}
    (folder / "classes.json").write_text(
        json.dumps(names, indent=0, ensure_ascii=False) + "\n", encoding="utf-8"
    )
