"""Runs a bundle's network with ONNX Runtime on a named processor, and proves that it does so rightly.

Three builds of ONNX Runtime exist (plain, OpenVINO, GPU); which one is
installed decides which providers can be had.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from extractor import images
from extractor.backbones.bundle import MODEL, Bundle, Golden
from extractor.backbones.runtimes import has_bf16
from extractor.backbones.schedule import Schedule
from extractor.errors import InvalidArgument, Unavailable
from extractor.results import Vector
from extractor.settings import cores

log = logging.getLogger(__name__)

_ONNX_NAMES = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
_INSTALL = {"cpu": "'.[cpu]'", "openvino": "'.[openvino]'", "cuda": "'.[gpu]'"}
_PRECISIONS = {"cpu": ("fp32",), "openvino": ("bf16", "fp32"), "cuda": ("fp32",)}


class Numerics(NamedTuple):
    """What computes: a provider and a precision."""

    provider: str
    precision: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.precision}"


class Session:
    """One network on one provider; `run` may be called from several threads.

    Parameters
    ----------
    bundle : Bundle
    numerics : Numerics
    schedule : Schedule, optional
        What keeps the provider busy; the usual one when left out.

    Attributes
    ----------
    max_batch : int
        Largest batch that pays on this provider.
    parallel : int
        Number of calls of `run` at once that keep it busy.

    Raises
    ------
    InvalidArgument
        When the installed ONNX Runtime has no such provider.
    Unavailable
        When the provider is there but does not really run the network.
    """

    def __init__(self, bundle: Bundle, numerics: Numerics, schedule: Schedule | None = None) -> None:
        schedule = schedule or Schedule.usual(numerics.provider)
        self.numerics = numerics
        self.max_batch, self.parallel = schedule.max_batch, schedule.parallel
        self._sizes = schedule.sizes
        self._session = _open(bundle, numerics, self._sizes)
        self._input = self._session.get_inputs()[0].name

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
        if self.numerics.provider == "cuda":
            return next((size for size in self._sizes if size >= left), self._sizes[-1])
        return max(size for size in self._sizes if size <= left)

    def _run(self, pixels: Sequence[NDArray[np.uint8]], size: int) -> list[Vector]:
        outputs = self._session.run(None, {self._input: _padded(pixels, size)})[0]
        return [row.copy() for row in outputs[: len(pixels)]]

    def prove(self, bundle: Bundle) -> float:
        """Run every batch size; the smallest cosine between the golden vectors and what is computed here.

        Raises
        ------
        Unavailable
            When the network cannot be run, or the cosine is under the bound
            of the manifest.
        """
        golden = bundle.golden()
        pixels = [images.decode(item.image, bundle.manifest.preprocessing) for item in golden]
        try:
            cosines = [cosine for size in self._sizes for cosine in self._cosines(pixels, golden, size)]
        except Exception as error:  # onnxruntime raises its own kinds, as when a GPU's memory is full
            raise Unavailable(f"{self.numerics} cannot run the network: {error}") from error
        bound = bundle.manifest.min_cosine[self.numerics.precision]
        smallest = float(np.min(cosines))  # NaN when one is
        if not smallest >= bound:  # also when it is NaN
            raise Unavailable(
                f"{self.numerics} does not compute what {bundle.manifest.backbone} should: the smallest "
                f"cosine to the original model is {smallest:.5f}, under the bound of {bound}; use another "
                "--provider or --precision"
            )
        return smallest

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
) -> tuple[Session, float]:
    """The first wanted session that passes the golden test, and its smallest cosine.

    Parameters
    ----------
    bundle : Bundle
    provider : {"auto", "cpu", "openvino", "cuda"}
    precision : {"auto", "fp32", "bf16"}
    plan : callable
        The schedule for what is tried; the usual one for None.

    Raises
    ------
    InvalidArgument, Unavailable
        When what was named cannot be had; with `auto`, when nothing works.
    """
    candidates = list(wanted(provider, precision))
    for numerics in candidates:
        try:
            session = Session(bundle, numerics, plan(numerics))
            return session, session.prove(bundle)
        except Unavailable as error:
            if numerics == candidates[-1]:
                raise
            log.warning("%s is passed over: %s", numerics, error)
    raise InvalidArgument(_not_to_be_had(provider, precision))


def wanted(provider: str, precision: str) -> Iterator[Numerics]:
    """What to try, fastest first, among what is installed and was asked for.

    Raises
    ------
    InvalidArgument
        When a provider was named that the installed ONNX Runtime lacks.
    """
    if provider != "auto" and provider not in installed_providers():
        raise InvalidArgument(_not_to_be_had(provider, precision))
    for candidate in ("cuda", "openvino", "cpu"):
        if provider in ("auto", candidate) and candidate in installed_providers():
            for kind in _PRECISIONS[candidate]:
                if precision == kind or (precision == "auto" and (kind != "bf16" or has_bf16())):
                    yield Numerics(candidate, kind)


def installed_providers() -> list[str]:
    """Our names of the providers that the installed ONNX Runtime has."""
    available = ort.get_available_providers()
    return [name for name, onnx_name in _ONNX_NAMES.items() if onnx_name in available]


def _not_to_be_had(provider: str, precision: str) -> str:
    have = ", ".join(installed_providers())
    if provider not in ("auto", *installed_providers()):
        return (
            f"the provider {provider!r} is not in the installed ONNX Runtime (it has: {have}); in a new "
            f"environment, pip install {_INSTALL.get(provider, 'one of ' + ', '.join(_INSTALL.values()))}"
        )
    return f"no provider here computes with precision {precision!r} (provider {provider}, installed: {have})"


def _open(bundle: Bundle, numerics: Numerics, sizes: tuple[int, ...]) -> ort.InferenceSession:
    if numerics.provider == "cuda":
        ort.preload_dlls()
    name = _ONNX_NAMES[numerics.provider]
    model = bundle.read(MODEL)  # the very bytes that the fingerprint speaks of
    try:
        session = ort.InferenceSession(
            model,
            _session_options(numerics, sizes),
            providers=[(name, _provider_options(numerics))],
        )
    except Exception as error:  # onnxruntime raises its own kinds, with no common base
        raise Unavailable(f"{numerics} cannot load the network of {bundle.path}: {error}") from error
    if session.get_providers()[0] != name:
        raise Unavailable(
            f"{numerics} was asked for, but ONNX Runtime runs the network on {session.get_providers()[0]}; "
            "its log above says why"
        )
    return session


def _session_options(numerics: Numerics, sizes: tuple[int, ...]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if len(sizes) == 1:  # a fixed batch lets the provider plan its memory once
        options.add_free_dimension_override_by_name("n", sizes[0])
    if numerics.provider == "openvino":  # its falling back to the plain CPU is otherwise only a log line
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _provider_options(numerics: Numerics) -> dict[str, Any]:
    if numerics.provider == "openvino":
        hint = {"bf16": "bf16", "fp32": "f32"}[numerics.precision]
        threads = str(cores())
        config = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
        return {"device_type": "CPU", "load_config": json.dumps({"CPU": config})}
    if numerics.provider == "cuda":
        return {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    return {}


def _padded(pixels: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """The pictures as one array of exactly `size` rows, the spare ones black."""
    if len(pixels) == size:
        return pixels[0][np.newaxis] if size == 1 else np.stack(pixels)
    batch = np.zeros((size, *pixels[0].shape), np.uint8)
    batch[: len(pixels)] = pixels
    return batch
