"""A network cut at some of its layers, their outputs pooled, on the picture and its mirror images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from extractor.backbones.export.layers import Output, find_layer, outputs, watched
from extractor.backbones.variant import Cut, Variant, Views
from extractor.errors import InvalidArgument

if TYPE_CHECKING:
    import torch

_MIRRORED: dict[Views, Sequence[Sequence[int]]] = {"plain": (), "flip": ([3],), "flips": ([3], [2], [2, 3])}
"""Besides the picture as it is: along which axes of [n, channels, height, width] each view is mirrored."""


def changed(
    embedding: torch.nn.Module, network: Any, variant: Variant, shape: tuple[int, int]
) -> torch.nn.Module:
    """What `variant` makes of a network: normalised pictures [n, 3, height, width] to embeddings [n, dim].

    Parameters
    ----------
    embedding : torch.nn.Module
        The network up to its default layer.
    network : torch.nn.Module
        The whole of it.
    variant : Variant
    shape : tuple of int
        Height and width of the input, in pixels.

    Raises
    ------
    InvalidArgument
        When the network has no such layer, or it cannot be pooled so.
    """
    if variant.cuts:
        embedding = cut(network, variant.cuts, shape)
    mirrored = _MIRRORED[variant.views]
    return _mean_of_views(embedding, mirrored) if mirrored else embedding


def cut(network: Any, cuts: Iterable[Cut], shape: tuple[int, int]) -> torch.nn.Module:
    """The network up to some of its layers, each pooled, their vectors one after the other.

    Errors are those of `changed`. What comes after the last of the layers is
    run in PyTorch, and is not in the exported graph.
    """
    import torch

    known = outputs(network, *shape)
    poolings = [(one.layer, _pooling(one, find_layer(known, one.layer))) for one in cuts]

    class AtLayers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            vectors: list[torch.Tensor | None] = [None] * len(poolings)

            def keep(place: int, result: torch.Tensor) -> None:
                # Pooled at once: the next layer may write over its input.
                vectors[place] = poolings[place][1](result)

            hooks = ((layer, partial(keep, place)) for place, (layer, _) in enumerate(poolings))
            with watched(self.network, hooks):
                self.network(pictures)
            return torch.cat([vector for vector in vectors if vector is not None], dim=1)

    return AtLayers().eval()


def _mean_of_views(embedding: torch.nn.Module, mirrored: Sequence[Sequence[int]]) -> torch.nn.Module:
    """The mean over the pictures and their images, each mirrored along some of the axes of [n, c, h, w]."""
    import torch

    class MeanOfViews(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = embedding

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            # One run over all, so that each weight is in the graph once.
            views = self.embedding(torch.cat([pictures, *(pictures.flip(*axes) for axes in mirrored)]))
            return torch.as_tensor(views.unflatten(0, (1 + len(mirrored), -1)).mean(0))

    return MeanOfViews().eval()


def _pooling(wanted: Cut, output: Output) -> Callable[[torch.Tensor], torch.Tensor]:
    """What makes one vector [n, channels] of a layer's batched output."""
    layer, pooling = wanted
    if output.kind is None:
        raise InvalidArgument(
            f"the layer {layer} cannot be cut at: its output of {list(output.shape)} does not say which axis "
            "is the channels'; see `penultimate backbones NAME --layers`"
        )
    if output.kind == "vector" and pooling != "avg":
        raise InvalidArgument(f"the layer {layer} gives one vector: there is nothing for {pooling} to pool")
    if pooling == "cls" and not output.class_token:
        raise InvalidArgument(f"the layer {layer} has no class token (cls): choose avg, max or gem")
    if output.kind == "vector":
        return lambda result: result.clone()
    if pooling == "cls":
        return lambda result: result[:, 0]
    reduce = {"avg": _avg, "max": _max, "gem": gem}[pooling]
    return lambda result: reduce(result[:, output.prefix :] if output.prefix else result, output.places)


def _avg(result: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    return result.mean(places)


def _max(result: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    return result.amax(places)


def gem(result: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """Generalised mean with p = 3 (Radenovic, Tolias, Chum, arXiv:1711.02512, section 3.2).

    Of values over 0, as there; each channel is divided by its maximum before
    the power, which changes nothing but keeps float16 from overflowing.
    """
    positive = result.clamp(min=1e-6)
    top = positive.amax(places, keepdim=True)
    mean = (positive / top).pow(3).mean(places).pow(1 / 3)
    return mean * top.flatten(1)
