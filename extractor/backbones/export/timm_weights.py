"""Checkpoints of timm's networks, read and converted as timm does it, and checked as it does not."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from extractor.backbones.catalogue import Backbone
from extractor.backbones.export.weights import State, differing, load, unreadable, without_state
from extractor.errors import InvalidArgument


def timm_network(backbone: Backbone, file: Path) -> Any:
    """The network with the weights of a file: a state dict of its own, or any that timm can convert.

    Raises
    ------
    InvalidArgument
        When the file cannot be read, or what timm makes of it is not all of this network's weights.
    """
    import timm

    found = _read(file)
    network = timm.create_model(backbone.architecture)
    wanted = network.state_dict()
    if _shapes(found) != _shapes(wanted):
        return _converted(backbone, wanted, found)
    load(network, found, backbone)
    return network


def _read(file: Path) -> dict[str, Any]:
    """What timm takes of a file: of a training's checkpoint the averaged weights, if there are any."""
    from timm.models import load_state_dict

    try:
        found: dict[str, Any] = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # any, as torch's readers raise on what they cannot read
        raise unreadable(file) from error
    if not _holds_tensors(found):
        raise without_state(file)
    return found


def _holds_tensors(found: Any) -> bool:
    """Whether there are any, at any depth: some publish the state dict among others of the training."""
    import torch

    inner = found.values() if isinstance(found, Mapping) else ()
    return torch.is_tensor(found) or any(map(_holds_tensors, inner))


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _converted(backbone: Backbone, wanted: State, found: dict[str, Any]) -> Any:
    """The network with what its family's filter in timm makes of a checkpoint."""
    import timm

    overlay: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": found}}
    with _watched_loading() as loads:
        try:
            network = timm.create_model(backbone.architecture, **overlay)
        except Exception as error:  # the filters raise anything on what they do not know
            state = loads[-1].state if loads else found
            raise InvalidArgument(differing(wanted, state, backbone)) from error
    if any(loaded.missing for loaded in loads):
        raise InvalidArgument(differing(wanted, loads[-1].state, backbone))
    return network


class _Loaded(NamedTuple):
    """What a network was given, and the names of the tensors that were not among it."""

    state: State
    missing: list[str]


@contextmanager
def _watched_loading() -> Iterator[list[_Loaded]]:
    """Note what timm's filters make of a checkpoint: a few families load it where tensors are missing."""
    builder: Any = importlib.import_module("timm.models._builder")
    loads, notes = builder.load_pretrained, []

    def watched(network: Any, *args: Any, **options: Any) -> None:
        missing: list[str] = []
        hooks = (
            network.register_load_state_dict_pre_hook(
                lambda _network, state, *_: notes.append(_Loaded(dict(state), missing))
            ),
            network.register_load_state_dict_post_hook(
                lambda _network, keys: missing.extend(keys.missing_keys)
            ),
        )
        loads(network, *args, **options)
        for hook in hooks:
            hook.remove()

    builder.load_pretrained = watched
    try:
        yield notes
    finally:
        builder.load_pretrained = loads
