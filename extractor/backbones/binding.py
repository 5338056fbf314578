"""Runs a network on a device with memory of its own, through buffers that are made once."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, LifoQueue

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from extractor.backbones.cuda import pinned
from extractor.results import Vector


class Binding:
    """The buffers of one run of one batch size: pictures here and on the device, and the vectors.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        With one input, uint8 [n, height, width, 3], and one output, float32 [n, dim].
    device : str
        ONNX Runtime's name of where the pictures have to be: "cuda", or "cpu".
    size : int
        Rows of every run.
    """

    def __init__(self, session: ort.InferenceSession, device: str, size: int) -> None:
        (source,), (target,) = session.get_inputs(), session.get_outputs()
        self._session = session
        self._pixels = pinned((size, *source.shape[1:]), np.uint8)
        self._vectors = pinned((size, *target.shape[1:]), np.float32)
        self._there = ort.OrtValue.ortvalue_from_shape_and_type(self._pixels.shape, np.uint8, device, 0)
        self._io = session.io_binding()
        self._io.bind_ortvalue_input(source.name, self._there)
        place = self._vectors.ctypes.data
        self._io.bind_output(target.name, "cpu", 0, np.float32, self._vectors.shape, place)

    def run(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Vector]:
        """Embed at most `size` pictures; each vector owns its memory.

        What an earlier run left in the spare rows is computed again, and not looked at.
        """
        for place, picture in enumerate(pixels):
            self._pixels[place] = picture
        self._there.update_inplace(self._pixels)
        self._session.run_with_iobinding(self._io)
        self._io.synchronize_outputs()
        return [row.copy() for row in self._vectors[: len(pixels)]]


class Bindings:
    """As many bindings of each batch size as there are runs at once, made before the first.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    device : str
        As for `Binding`.
    sizes : sequence of int
        The batch sizes that runs may have.
    parallel : int
        Number of runs at once; when there are more after all, more are made.
    """

    def __init__(
        self, session: ort.InferenceSession, device: str, sizes: Sequence[int], parallel: int
    ) -> None:
        self._session, self._device = session, device
        self._free: dict[int, LifoQueue[Binding]] = {size: LifoQueue() for size in sizes}
        for size, free in self._free.items():
            for _ in range(parallel):
                free.put(self._new(size))

    def run(self, pixels: Sequence[NDArray[np.uint8]], size: int) -> list[Vector]:
        """Embed pictures in one run of `size` rows; may be called from several threads."""
        free = self._free[size]
        try:
            binding = free.get_nowait()
        except Empty:
            binding = self._new(size)
        try:
            return binding.run(pixels)
        finally:
            free.put(binding)

    def _new(self, size: int) -> Binding:
        return Binding(self._session, self._device, size)
