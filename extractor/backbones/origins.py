"""Where the weights of backbones come from, and whether they are on this machine. Imports no torch."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SHA256 = re.compile(r"-([0-9a-f]{8,64})\.")
"""Eight digits and more; fewer are the number of epochs, or such."""


class Origin(Protocol):
    """A file of weights that is published somewhere."""

    @property
    def size(self) -> int:
        """Bytes of that file, or about so many."""

    @property
    def licence(self) -> str:
        """As an SPDX identifier."""

    @property
    def source(self) -> str:
        """What it is called, for people to read."""

    @property
    def advice(self) -> str:
        """What to do when it is not here."""

    def find(self) -> Path | None:
        """The file, or None when it is not on this machine."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file inside a package from PyPI.

    Attributes
    ----------
    package, version : str
        What to install.
    file : str
        The state dict, relative to the folder that packages are installed to.
    sha256 : str
        Of that file, in hex.
    """

    package: str
    version: str
    file: str
    sha256: str
    size: int
    licence: str

    @property
    def source(self) -> str:
        """Package, version and file."""
        return f"{self.package} {self.version} from PyPI: {self.file}"

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.package}=={self.version}"

    @property
    def advice(self) -> str:
        """The command to run."""
        return f"pip install {self.requirement}"

    def find(self) -> Path | None:
        """The file, or None when the package is not installed; does not import the package."""
        module, _, inner = self.file.partition("/")
        spec = importlib.util.find_spec(module)
        folders = (spec.submodule_search_locations if spec else None) or []
        return next((file for folder in folders if (file := Path(folder, inner)).is_file()), None)


@dataclass(frozen=True, slots=True)
class TorchHubFile:
    """A file that torchvision or timm has an address of, kept where torch keeps what it downloads.

    Attributes
    ----------
    name : str
        What the library calls these weights.
    url : str
        Its file's name mostly ends in a dash and the first digits of its SHA-256.
    library : str
    """

    name: str
    url: str
    size: int
    licence: str
    library: str = "torchvision"

    @property
    def source(self) -> str:
        """The weights' name in their library, and their address."""
        return f"{self.name} of {self.library}: {self.url}"

    @property
    def advice(self) -> str:
        """What an export does by itself."""
        return "download"

    @property
    def sha256_begins(self) -> str:
        """The first hex digits of the file's SHA-256; empty when its name has none."""
        found = _SHA256.search(Path(self.url).name)
        return found[1] if found else ""

    @property
    def kept(self) -> Path:
        """Where torch keeps the file."""
        torch_home = os.environ.get("TORCH_HOME") or _user_cache() / "torch"
        return Path(torch_home).expanduser() / "hub" / "checkpoints" / Path(self.url).name

    def find(self) -> Path | None:
        """The downloaded file."""
        return self.kept if self.kept.is_file() else None


@dataclass(frozen=True, slots=True)
class HuggingFaceFile:
    """A file of a repository on the Hugging Face hub, where timm publishes its weights."""

    repository: str
    file: str
    size: int
    licence: str

    @property
    def url(self) -> str:
        """Where a browser gets it."""
        hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{hub}/{self.repository}/resolve/main/{self.file}"

    @property
    def source(self) -> str:
        """Repository and file."""
        return f"{self.repository} on the Hugging Face hub: {self.file}"

    @property
    def advice(self) -> str:
        """What an export does by itself."""
        return "download"

    def find(self) -> Path | None:
        """The downloaded file, of the revision that the hub's client took for the newest."""
        home = Path(os.environ.get("HF_HOME") or _user_cache() / "huggingface").expanduser()
        cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
        folder = cache / f"models--{self.repository.replace('/', '--')}"
        try:
            revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
        except OSError:
            return None
        file = folder / "snapshots" / revision / self.file
        return file if file.is_file() else None


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Weights that the library of the network does not publish: everybody has their own."""

    size: int

    @property
    def licence(self) -> str:
        """That of whoever trained them."""
        return "unknown"

    @property
    def source(self) -> str:
        """Nobody."""
        return "not published"

    @property
    def advice(self) -> str:
        """The option that takes one's own."""
        return "give a file with --weights FILE"

    def find(self) -> None:
        """Nothing that could be here."""


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
