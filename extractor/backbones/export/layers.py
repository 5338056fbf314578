"""Which layers a network has, and what they give.

A layer is any module of the network, by its name in PyTorch. What it gives is
a map of features, a row of tokens or one vector; which, and on which axis its
channels are, is found by running the network on pictures of two shapes.
"""

from __future__ import annotations

import difflib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from extractor.backbones.catalogue import Backbone
from extractor.backbones.export.networks import import_torchvision
from extractor.backbones.export.timm_models import find
from extractor.errors import InvalidArgument

if TYPE_CHECKING:
    import torch

Kind = Literal["map", "map, channels last", "tokens", "vector"]

_BATCH = 2
_SILENT = ("Dropout", "DropPath", "StochasticDepth", "Identity", "Softmax")
"""Kinds of modules that give what they are given, or weights of an attention."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a layer gives for one picture.

    Attributes
    ----------
    layer : str
        The module's name in the network.
    module : str
        The module's class.
    shape : tuple of int
        Without the batch.
    kind : str, optional
        None where the axes of the channels and of the places cannot be told apart.
    prefix : int
        Tokens that stand before those of the picture's patches.
    class_token : bool
        Whether the first of them is the class token.
    """

    layer: str
    module: str
    shape: tuple[int, ...]
    kind: Kind | None
    prefix: int = 0
    class_token: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of the batched output that are not the channels'."""
        axes: dict[Kind, tuple[int, ...]] = {"map": (2, 3), "map, channels last": (1, 2), "tokens": (1,)}
        return axes.get(self.kind or "vector", ())


def layers_of(name: str, size: int | None = None) -> list[Output]:
    """The layers of a backbone at which it may be cut, in the order in which they run; needs no weights.

    Parameters
    ----------
    name : str
        One of the catalogue's, or `timm/NAME`.
    size : int, optional
        Side of the input, in pixels; the backbone's own when left out.

    Raises
    ------
    NotFound
        No backbone of that name.
    InvalidArgument
        It takes no pictures of that size.
    """
    backbone = find(name)
    with warnings.catch_warnings(action="ignore"):  # of torch's and timm's own coming changes
        network = _untrained(backbone)
        if size is not None:
            backbone = backbone.at(size)
            fit_size(network, *backbone.shape)
        known = outputs(network, *backbone.shape)
    return [output for output in known.values() if output.kind]


def _untrained(backbone: Backbone) -> Any:
    import_torchvision()
    import timm
    from torchvision.models import get_model

    if backbone.source == "torchvision":
        return get_model(backbone.architecture, weights=None, **backbone.options).eval()
    return timm.create_model(backbone.architecture).eval()


def outputs(network: torch.nn.Module, height: int, width: int) -> dict[str, Output]:
    """Every layer with one output of its own in a run of the network, in the order of the run.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on pictures of shape [n, 3, height, width].
    height, width : int

    Raises
    ------
    InvalidArgument
        When the network does not take pictures of that size.
    """
    shapes = _shapes(network, height, width)
    wider = _shapes(network, height, 2 * width, whole=False)
    return {
        layer: _described(network, layer, shape, wider.get(layer, shape), height / width)
        for layer, shape in shapes.items()
    }


def find_layer(known: dict[str, Output], layer: str) -> Output:
    """The layer of that name; InvalidArgument, with others like it, when there is none."""
    if layer in known:
        return known[layer]
    like = difflib.get_close_matches(layer, known, 3) or list(known)[-3:]
    raise InvalidArgument(
        f"the network has no layer {layer!r} to be cut at; there are {', '.join(like)} and others: "
        "see `penultimate backbones NAME --layers`"
    )


def fit_size(network: Any, height: int, width: int) -> None:
    """Prepare a network for pictures of another size than the one it was trained on.

    Fully convolutional ones need nothing. Transformers of timm that can
    interpolate their positions do so here; others refuse the size.

    Raises
    ------
    InvalidArgument
        When the network does not take pictures of that size.
    """
    if hasattr(network, "set_input_size"):
        try:
            network.set_input_size(img_size=(height, width))
        except Exception as error:  # networks have no common kind of refusal
            raise _refused(height, width, error) from error
    _shapes(network, height, width)


def _described(
    network: torch.nn.Module, layer: str, shape: tuple[int, ...], wider: tuple[int, ...], aspect: float
) -> Output:
    """Which axes are the places: those that grow with the picture's width tell; `aspect`: height by width."""
    name = type(network.get_submodule(layer)).__name__
    grown = tuple(axis for axis, (one, other) in enumerate(zip_longest(shape, wider)) if one != other)
    kind: Kind | None = None
    prefix, declared = 0, _declared_tokens(network)
    match len(shape), grown:
        case 1, ():
            kind = "vector"
        case 3, _ if declared.keys().isdisjoint(shape[:2]):  # else from each token to each, of an attention
            kind = _map(shape, grown, aspect)
        case 2, (0,):  # twice as many patches, and as many others as before
            kind, prefix = "tokens", 2 * shape[0] - wider[0]
        case 2, () if shape[0] in declared and shape[1] not in declared:
            kind, prefix = "tokens", declared[shape[0]]
    return Output(layer, name, shape, kind, prefix, prefix > 0 and _has_class_token(network))


def _map(shape: tuple[int, ...], grown: tuple[int, ...], aspect: float) -> Kind | None:
    """A map has the picture's proportions; where its sides do not grow, its channels do not have them too."""
    first, second, third = shape
    last_two, first_two = second == round(aspect * third), first == round(aspect * second)
    if last_two and (grown == (2,) or (not grown and not first_two)):
        return "map"
    if first_two and (grown == (1,) or (not grown and not last_two)):
        return "map, channels last"
    return None


def _has_class_token(network: torch.nn.Module) -> bool:
    """Whether the first token is the class token: timm and torchvision name it differently."""
    return any(getattr(network, name, None) is not None for name in ("cls_token", "class_token"))


def _declared_tokens(network: Any) -> dict[int, int]:
    """Lengths that a row of tokens has in a transformer of one size: how many stand before the patches'."""
    prefix = getattr(network, "num_prefix_tokens", int(_has_class_token(network)))
    entries = (getattr(network, name, None) for name in ("patch_embed", "stem"))  # timm's
    counts = (getattr(entry, "num_patches", None) for entry in entries)
    patches = next((count for count in counts if count is not None), None)
    if hasattr(network, "seq_length"):  # torchvision's
        patches = network.seq_length - prefix
    return {} if patches is None else {patches: 0, patches + prefix: prefix}


def _shapes(
    network: torch.nn.Module, height: int, width: int, *, whole: bool = True
) -> dict[str, tuple[int, ...]]:
    """The shape of what each module gives, without the batch; no arithmetic is done.

    Modules that run more than once or give anything but one tensor for each
    picture are left out. Unless the run must be `whole`, it may fail.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    seen: list[tuple[str, tuple[int, ...]]] = []
    layers = [name for name, module in network.named_modules() if name and not _is_silent(module)]
    hooks = ((layer, partial(_note, seen, layer)) for layer in layers)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), watched(network, hooks):
        try:
            network(torch.zeros(_BATCH, 3, height, width))
        except Exception as error:  # networks have no common kind of refusal
            if whole:
                raise _refused(height, width, error) from error
    runs = Counter(layer for layer, _ in seen)
    return {layer: shape for layer, shape in seen if runs[layer] == 1 and shape}


def _note(seen: list[tuple[str, tuple[int, ...]]], layer: str, result: object) -> None:
    import torch

    usable = isinstance(result, torch.Tensor) and result.is_floating_point() and result.shape[:1] == (_BATCH,)
    seen.append((layer, tuple(result.shape[1:]) if usable and isinstance(result, torch.Tensor) else ()))


def _is_silent(module: torch.nn.Module) -> bool:
    return type(module).__name__.startswith(_SILENT)


@contextmanager
def watched(network: torch.nn.Module, hooks: Iterable[tuple[str, Callable[[Any], None]]]) -> Iterator[None]:
    """Call each hook with what its layer gives whenever the network runs in this block."""
    with ExitStack() as stack:
        for layer, see in hooks:
            handle = network.get_submodule(layer).register_forward_hook(
                lambda _module, _given, result, see=see: see(result)
            )
            stack.callback(handle.remove)
        yield


def _refused(height: int, width: int, error: Exception) -> InvalidArgument:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InvalidArgument(f"the network does not take pictures of {height} x {width} pixels: {reason}")
