"""Any model of timm as a backbone, described by timm's own metadata."""

from __future__ import annotations

import difflib
import math
from typing import Any

from extractor.backbones import catalogue
from extractor.backbones.catalogue import TIMM, Backbone
from extractor.backbones.export.networks import import_torchvision
from extractor.backbones.origins import HuggingFaceFile, Origin, TorchHubFile, Unpublished
from extractor.backbones.variant import name_of
from extractor.errors import InvalidArgument, NotFound
from extractor.preprocessing import Resize

_FILE = "model.safetensors"
_INTERPOLATIONS = ("bilinear", "bicubic")
_RESIZES: dict[str, Resize] = {"center": "shorter", "squash": "squash", "border": "pad"}


def find(name: str) -> Backbone:
    """The backbone of that name: one of the catalogue's, or `timm/NAME` for any model of timm.

    Raises
    ------
    NotFound
        When there is none; says what is like it.
    InvalidArgument
        When timm prepares its pictures in a way that is not known here.
    """
    listed = {backbone.name for backbone in catalogue.BACKBONES}
    if not name_of(name).startswith(TIMM) or name_of(name) in listed:
        return catalogue.find(name)
    return described(name_of(name).removeprefix(TIMM))


def described(architecture: str) -> Backbone:
    """The model of timm that is called so, with or without the tag of its weights; errors as in `find`."""
    import_torchvision()
    import timm
    import torch
    from timm.models import get_pretrained_cfg

    _check_known(architecture)
    published: Any = get_pretrained_cfg(architecture)
    _check_preprocessing(architecture, published)
    with torch.device("meta"):
        network: Any = timm.create_model(architecture)
    return Backbone(
        name=TIMM + architecture,
        source="timm",
        architecture=_tagged(published),
        weights=_origin(
            published,
            sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        ),
        **preparation(published),
        dim=getattr(network, "head_hidden_size", None) or network.num_features,
        parameters=sum(tensor.numel() for tensor in network.parameters()),
    )


def preparation(published: Any) -> dict[str, Any]:
    """How pictures are prepared for the weights that timm describes so: a backbone's facts of that."""
    height, width = published.input_size[1:]
    shorter, longer = sorted(math.floor(side / published.crop_pct) for side in (height, width))
    return {
        "input_px": height,
        "width_px": None if width == height else width,
        "resize_shorter": shorter,
        "resize_longer": None if longer == shorter else longer,
        "resize": _RESIZES[published.crop_mode],
        "interpolation": published.interpolation,
        "mean": published.mean,
        "std": published.std,
    }


def _tagged(published: Any) -> str:
    """The model's name in timm with the tag of its weights, where they have one."""
    name: str = published.architecture
    return f"{name}.{published.tag}" if published.tag else name


def _origin(published: Any, size: int) -> Origin:
    """Where timm itself looks first for the weights."""
    licence = published.license or "unknown"
    if published.hf_hub_id:
        return HuggingFaceFile(published.hf_hub_id, published.hf_hub_filename or _FILE, size, licence)
    if published.url:
        return TorchHubFile(_tagged(published), published.url, size, licence, library="timm")
    return Unpublished(size)


def _check_known(architecture: str) -> None:
    """NotFound unless timm has the model, and the tag where there is one."""
    import timm

    model, _, tag = architecture.partition(".")
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=5)
        like = f"; it has {', '.join(near)}" if near else ""
        raise NotFound(f"timm {timm.__version__} has no model {model!r}{like}")
    if architecture not in (model, *timm.list_models(f"{model}.*", pretrained=True)):
        raise NotFound(f"timm {timm.__version__} has no weights {tag!r} for {model}")


def _check_preprocessing(architecture: str, published: Any) -> None:
    """InvalidArgument unless pictures are resized by one of our rules."""
    if published is None:
        raise NotFound(f"timm says nothing of how pictures are prepared for {architecture}")
    reasons = {
        f"it crops by {published.crop_mode}": published.crop_mode not in _RESIZES,
        f"it resizes by {published.interpolation}": published.interpolation not in _INTERPOLATIONS,
        f"it takes {published.input_size[0]} channels": published.input_size[0] != 3,
    }
    if wrong := [reason for reason, holds in reasons.items() if holds]:
        raise InvalidArgument(f"timm/{architecture} cannot be used: {' and '.join(wrong)}")
