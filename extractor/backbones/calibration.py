"""Finds an int8 graph that is good enough for a user's own images, judged on others of them.

The first layers lose the most: when no way of finding the ranges holds the
bound, more and more of them are left in fp32 until one does.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from extractor import images
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import Numerics, installed_providers
from extractor.backbones.quantised import BOUND, Calibration, Cosines, Fidelity, keep
from extractor.backbones.quantiser import METHODS, Pixels, Quantiser, Ranges
from extractor.backbones.schedule import Schedule
from extractor.backbones.session import Session, open_graph
from extractor.errors import InvalidArgument, PenultimateError, Unavailable
from extractor.results import Vector
from extractor.settings import DataFolder

log = logging.getLogger(__name__)

EXACT_PARTS = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
"""Parts of the heavy layers, from the first on, that may be left in fp32; with more, int8 is no gain."""

LEAST_IMAGES = 16
MOST_IMAGES = 256
HELD_OUT = 4
"""One image in so many is not calibrated on, but judged by."""

INT8_PROVIDERS = ("openvino", "cpu")


def calibrate(
    bundle: Bundle,
    data: DataFolder,
    pictures: Iterable[bytes],
    provider: str = "auto",
    note: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Make an int8 graph and keep it in the data folder, if it is good enough.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
    pictures : iterable of bytes
        Images such as the network will see; what cannot be read is left out, and
        of many the first 256 are taken.
    provider : str
        Where it is to be used: everywhere here that computes int8, for "auto". It is
        kept for those providers on which the bound holds.
    note : callable
        Is told in a few words what is being done, and for which provider it is not kept, and why.

    Returns
    -------
    Calibration
        On the providers for which it is kept.

    Raises
    ------
    InvalidArgument
        Too few images, or no provider for int8.
    Unavailable
        When the bound holds nowhere, with the figures; when no provider can run int8
        graphs; or a package is missing.
    """
    pixels = list(_decoded(bundle, pictures))
    if len(pixels) < LEAST_IMAGES:
        raise InvalidArgument(
            f"{len(pixels)} images can be read, and calibrating takes {LEAST_IMAGES} at the least: "
            "name a folder with more of those that the network will see"
        )
    seen = [picture for place, picture in enumerate(pixels) if place % HELD_OUT]
    judge = _Judge(bundle, _providers(provider), pixels[::HELD_OUT], len(seen), note)
    best = _best(Quantiser(bundle), seen, judge, note)
    kept = _kept(best.calibration, note)
    keep(data, bundle, best.graph, kept)
    return kept


def _kept(found: Calibration, note: Callable[[str], None]) -> Calibration:
    """What holds its bound of `found`; of the rest it is said that it does not."""
    if not found.held:
        raise Unavailable(
            f"int8 is not kept, since its cosine to fp32 is under the bound of {BOUND}; the best was {found}"
        )
    if lost := [name for name in found.fidelity if name not in found.held]:
        note(f"not kept for {' and '.join(lost)}, under the bound of {BOUND}: {found.on(lost)}")
    return found.on(found.held)


class _Attempt(NamedTuple):
    """An int8 graph, and what is known of it."""

    graph: bytes
    ranges: Ranges
    calibration: Calibration


def _best(tool: Quantiser, seen: Sequence[Pixels], judge: _Judge, note: Callable[[str], None]) -> _Attempt:
    """The nearest to fp32 of all methods; with as few exact layers as hold the bound on most providers."""

    def attempt(method: str, ranges: Ranges, exact: int) -> _Attempt:
        graph = tool.quantised(ranges, exact)
        found = judge(graph, method, exact)
        note(str(found))
        return _Attempt(graph, ranges, found)

    best = max((attempt(method, tool.ranges(method, seen), 0) for method in METHODS), key=_worth)
    for part in EXACT_PARTS:
        if best.calibration.holds:
            break
        exact = max(1, round(part * tool.layers))
        best = max(best, attempt(best.calibration.method, best.ranges, exact), key=_worth)
    return best


def _worth(attempt: _Attempt) -> tuple[int, int, float]:
    """Providers on which it holds come first; exact layers that win none are only slower."""
    found = attempt.calibration
    if not found.held:
        return 0, 0, found.smallest
    return len(found.held), -found.exact_layers, found.on(found.held).smallest


def _decoded(bundle: Bundle, pictures: Iterable[bytes]) -> Iterator[Pixels]:
    for picture in itertools.islice(pictures, MOST_IMAGES):
        try:
            yield images.decode(picture, bundle.manifest.preprocessing)
        except PenultimateError as error:
            log.warning("an image is left out of the calibration: %s", error)


def _providers(provider: str) -> list[str]:
    """Where the graph is to hold its bound."""
    found = [name for name in INT8_PROVIDERS if provider in ("auto", name) and name in installed_providers()]
    if not found:
        raise InvalidArgument(
            f"the provider {provider!r} computes no int8 here: name {' or '.join(INT8_PROVIDERS)}"
        )
    return found


class _Judge:
    """Says how near an int8 graph is to fp32, on those of the providers that can run such a graph."""

    def __init__(
        self,
        bundle: Bundle,
        providers: Sequence[str],
        held_out: Sequence[Pixels],
        calibrated: int,
        note: Callable[[str], None],
    ) -> None:
        golden = bundle.golden()
        self._bundle, self._calibrated, self._note = bundle, calibrated, note
        self._providers = list(providers)
        self._golden = [images.decode(item.image, bundle.manifest.preprocessing) for item in golden]
        self._held_out = held_out
        self._originals = np.stack([item.vector for item in golden])
        self._exact = np.stack(Session(bundle, Numerics("cpu", "fp32"), Schedule(1, 1)).run(held_out))

    def __call__(self, graph: bytes, method: str, exact: int) -> Calibration:
        found = {name: self._tried(graph, name) for name in tuple(self._providers)}
        fidelity = {name: each for name, each in found.items() if each}
        return Calibration(method, exact, self._calibrated, len(self._held_out), fidelity)

    def _tried(self, graph: bytes, provider: str) -> Fidelity | None:
        """None where the provider cannot run it: that is said, and it is left out from then on."""
        try:
            return self._fidelity(graph, Numerics(provider, "int8"))
        except Exception as error:  # onnxruntime raises its own kinds
            self._providers.remove(provider)
            if not self._providers:
                raise Unavailable(f"{provider} cannot run an int8 graph: {error}") from error
            self._note(f"not kept for {provider}, which cannot run an int8 graph: {error}")
            return None

    def _fidelity(self, graph: bytes, numerics: Numerics) -> Fidelity:
        session = open_graph(self._bundle, graph, numerics, (1,))
        source = session.get_inputs()[0].name

        def vectors(pixels: Sequence[Pixels]) -> Vector:
            return np.concatenate([session.run(None, {source: one[np.newaxis]})[0] for one in pixels])

        return Fidelity(
            _cosines(vectors(self._golden), self._originals), _cosines(vectors(self._held_out), self._exact)
        )


def _cosines(found: Vector, expected: Vector) -> Cosines:
    x, y = found.astype(np.float64), expected.astype(np.float64)
    each = np.sum(x * y, axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return Cosines(float(np.min(each)), float(np.median(each)))
