"""Runs a bundle's network with ONNX Runtime on a named processor, and proves that it does so rightly."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from extractor import images
from extractor.backbones import providers, quantised
from extractor.backbones.binding import Bindings
from extractor.backbones.bundle import Bundle, Golden
from extractor.backbones.providers import ONNX_NAMES, Numerics, wanted
from extractor.backbones.schedule import Schedule
from extractor.errors import PenultimateError, Unavailable
from extractor.results import Vector
from extractor.settings import DataFolder

log = logging.getLogger(__name__)

_HEAVY = {"Conv", "Gemm", "MatMul"}
"""Operators that must be computed where it was asked for; the shapes of tensors need not."""


class Session:
    """One network on one provider; `run` may be called from several threads.

    Parameters
    ----------
    bundle : Bundle
    numerics : Numerics
    schedule : Schedule, optional
        What keeps the provider busy; the usual one when left out.
    data : DataFolder, optional
        Where int8 graphs and TensorRT's engines are.

    Attributes
    ----------
    max_batch : int
        Largest batch that pays on this provider.
    parallel : int
        Number of calls of `run` at once that keep it busy.
    bound : float
        Smallest cosine to the golden vectors with which it may serve.

    Raises
    ------
    InvalidArgument
        When the installed ONNX Runtime has no such provider.
    Unavailable
        When the provider is there but does not really run the network.
    """

    def __init__(
        self,
        bundle: Bundle,
        numerics: Numerics,
        schedule: Schedule | None = None,
        data: DataFolder | None = None,
    ) -> None:
        schedule = schedule or Schedule.usual(numerics.provider)
        self.numerics = numerics
        self.max_batch, self.parallel = schedule.max_batch, schedule.parallel
        self._sizes = schedule.sizes
        self.bound = _bound(bundle, numerics.precision)
        graph = _graph(bundle, numerics, data)
        self._session = open_graph(bundle, graph, numerics, self._sizes, data)
        self._input = self._session.get_inputs()[0].name
        self._bindings = (
            Bindings(self._session, "cuda", self._sizes, self.parallel) if numerics.on_gpu else None
        )

    @property
    def schedule(self) -> Schedule:
        """How it is kept busy."""
        return Schedule(self.max_batch, self.parallel)

    def run(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed pictures.

        Parameters
        ----------
        pixels : sequence of uint8 arrays of shape (height, width, 3)

        Returns
        -------
        list of float32 arrays of shape (dim,)
            Each owns its memory.
        """
        rows: list[Vector] = []
        while len(rows) < len(pixels):
            size = self._size_for(len(pixels) - len(rows))
            rows.extend(self._run(pixels[len(rows) : len(rows) + size], size))
        return rows

    def _size_for(self, left: int) -> int:
        """The next run's size: a GPU fills a larger one up, a CPU would compute each row of that in vain."""
        if self.numerics.on_gpu:
            return next((size for size in self._sizes if size >= left), self._sizes[-1])
        return max(size for size in self._sizes if size <= left)

    def _run(self, pixels: Sequence[NDArray[np.uint8]], size: int) -> list[Vector]:
        if self._bindings:
            return self._bindings.run(pixels, size)
        outputs = self._session.run(None, {self._input: _batch(pixels)})[0]
        return [row.copy() for row in outputs]

    def prove(self, bundle: Bundle) -> float:
        """Run every batch size; the smallest cosine between the golden vectors and what is computed here.

        Raises
        ------
        Unavailable
            When the network cannot be run, or the cosine is under the bound.
        """
        smallest = float(np.min(self.golden_cosines(bundle)))  # NaN when one is
        if not smallest >= self.bound:  # also when it is NaN
            raise Unavailable(
                f"{self.numerics} does not compute what {bundle.manifest.backbone} should: the smallest "
                f"cosine to the original model is {smallest:.5f}, under the bound of {self.bound}; use "
                "another --provider or --precision"
            )
        return smallest

    def golden_cosines(self, bundle: Bundle) -> list[float]:
        """Those of every golden picture in every batch size; Unavailable when they cannot be run."""
        golden = bundle.golden()
        pixels = [images.decode(item.image, bundle.manifest.preprocessing.exact) for item in golden]
        try:
            return [cosine for size in self._sizes for cosine in self._cosines(pixels, golden, size)]
        except Exception as error:  # onnxruntime raises its own kinds, as when a GPU's memory is full
            raise Unavailable(f"{self.numerics} cannot run the network: {error}") from error

    def _cosines(
        self, pixels: Sequence[NDArray[np.uint8]], golden: Sequence[Golden], size: int
    ) -> list[float]:
        """Each golden picture's, all of them run in batches of exactly `size`, where some are twice."""
        count = len(golden)
        rows = [
            row
            for start in range(0, count, size)
            for row in self.run([pixels[place % count] for place in range(start, start + size)])
        ]
        return [item.cosine(row) for row, item in zip(rows, itertools.cycle(golden))]


def open_session(
    bundle: Bundle,
    provider: str = "auto",
    precision: str = "auto",
    plan: Callable[[Numerics], Schedule | None] = lambda _: None,
    data: DataFolder | None = None,
    order: Callable[[Iterable[Numerics]], list[Numerics]] = list,
) -> tuple[Session, float]:
    """The first wanted session that passes the golden test, and its smallest cosine.

    Parameters
    ----------
    bundle : Bundle
    provider : {"auto", "cpu", "openvino", "cuda", "tensorrt"}
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}
    plan : callable
        The schedule for what is tried; the usual one for None.
    data : DataFolder, optional
        Where int8 graphs and TensorRT's engines are.
    order : callable
        What to try first, of `wanted`.

    Raises
    ------
    InvalidArgument, Unavailable
        When what was named cannot be had; with `auto`, when nothing works.
    """
    candidates = order(wanted(provider, precision, bundle, data))
    for numerics in candidates:
        try:
            session = Session(bundle, numerics, plan(numerics), data)
            return session, session.prove(bundle)
        except Unavailable as error:
            if numerics == candidates[-1]:
                raise
            log.warning("%s is passed over: %s", numerics, error)
    raise AssertionError("there is at least one, or it was said why not")


def _bound(bundle: Bundle, precision: str) -> float:
    return quantised.BOUND if precision == "int8" else bundle.manifest.min_cosine[precision]


def _graph(bundle: Bundle, numerics: Numerics, data: DataFolder | None) -> bytes:
    """What `providers` makes of the bundle's graph; Unavailable for whatever onnx and protobuf raise."""
    try:
        return providers.graph(bundle, numerics, data)
    except PenultimateError:
        raise
    except Exception as error:  # they have no common base
        raise Unavailable(
            f"the network of {bundle.path} cannot be written as {numerics} wants it: {error}; use another "
            "--provider or --precision"
        ) from error


def open_graph(
    bundle: Bundle,
    graph: bytes,
    numerics: Numerics,
    sizes: tuple[int, ...],
    data: DataFolder | None = None,
) -> ort.InferenceSession:
    """What ONNX Runtime makes of `graph`, which computes what the bundle's does.

    Raises
    ------
    Unavailable
        When it cannot be loaded, or is not computed where it should be.
    """
    providers.prepare(numerics.provider)
    name = ONNX_NAMES[numerics.provider]
    try:
        session = ort.InferenceSession(
            graph,
            providers.session_options(bundle, numerics, sizes),
            providers=[(name, providers.provider_options(bundle, numerics, sizes, data))],
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime raises its own kinds, with no common base
        raise Unavailable(f"{numerics} cannot load the network of {bundle.path}: {error}") from error
    session.disable_fallback()  # nor later, in the middle of a run
    if elsewhere := _elsewhere(session, numerics):
        raise Unavailable(
            f"{numerics} was asked for, but ONNX Runtime runs the network on {elsewhere}; its log above "
            "says why"
        )
    return session


def _elsewhere(session: ort.InferenceSession, numerics: Numerics) -> str:
    """The provider that computes instead, all or a part; empty when there is none."""
    name, first = ONNX_NAMES[numerics.provider], session.get_providers()[0]
    if first != name or not providers.tells_nodes(numerics):
        return "" if first == name else str(first)
    parts = session.get_provider_graph_assignment_info()
    return next((part.ep_name for part in parts if part.ep_name != name and _is_heavy(part)), "")


def _is_heavy(part: ort.OrtEpAssignedSubgraph) -> bool:
    return any(node.op_type in _HEAVY for node in part.get_nodes())


def _batch(pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The pictures as one array, without a copy when there is one."""
    return pixels[0][np.newaxis] if len(pixels) == 1 else np.stack(pixels)
