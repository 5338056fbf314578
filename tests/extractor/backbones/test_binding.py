"""Buffers that are made once carry every batch; the CPU stands in for the device."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from extractor import images
from extractor.backbones import cuda, providers, session
from extractor.backbones.binding import Binding, Bindings
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import Numerics
from extractor.backbones.schedule import Schedule
from extractor.backbones.session import Session

CPU = Numerics("cpu", "fp32")
SIZES = (1, 4)


@pytest.fixture(scope="module")
def pixels(bundle: Bundle) -> list[np.ndarray]:
    return [images.decode(item.image, bundle.manifest.preprocessing) for item in bundle.golden()]


@pytest.fixture(scope="module")
def runtime(bundle: Bundle):
    """The network on the CPU provider, as ONNX Runtime has it."""
    return session.open_graph(bundle, providers.graph(bundle, CPU), CPU, SIZES)


def expected(bundle: Bundle, pixels: list[np.ndarray]) -> np.ndarray:
    return np.stack(Session(bundle, CPU, Schedule(1, 1)).run(pixels))


def test_bound_runs_give_what_plain_runs_give(runtime, bundle: Bundle, pixels) -> None:
    """Also when a run has spare rows, in which an earlier one left its pictures."""
    binding = Binding(runtime, "cpu", 4)
    for count in (4, 3, 1, 4):
        found = binding.run(pixels[:count])
        np.testing.assert_allclose(found, expected(bundle, pixels[:count]), rtol=1e-3, atol=1e-4)


def test_a_vector_owns_its_memory(runtime, pixels) -> None:
    """The next run through the same buffers changes no earlier result."""
    binding = Binding(runtime, "cpu", 1)
    (first,) = binding.run(pixels[:1])
    before = first.copy()
    binding.run(pixels[1:2])
    np.testing.assert_array_equal(first, before)


def test_runs_at_once_have_buffers_of_their_own(runtime, bundle: Bundle, pixels) -> None:
    """More runs at once than were foreseen get more buffers, and nobody another's vectors."""
    bindings = Bindings(runtime, "cpu", SIZES, 1)
    start = threading.Barrier(4)

    def run(number: int) -> list[np.ndarray]:
        start.wait(30)
        return [bindings.run(pixels[number : number + 1], 1)[0] for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, range(4)))
    for rows, vector in zip(found, expected(bundle, pixels[:4]), strict=True):
        np.testing.assert_allclose(rows, [vector] * 5, rtol=1e-3, atol=1e-4)


def test_buffers_are_used_again(runtime, pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, runs of a size need one binding."""
    made: list[int] = []
    new = Bindings._new
    monkeypatch.setattr(Bindings, "_new", lambda self, size: made.append(size) or new(self, size))
    bindings = Bindings(runtime, "cpu", SIZES, 2)
    for _ in range(5):
        bindings.run(pixels[:3], 4)
    assert made == [1, 1, 4, 4]


class OnAGpu(Session):
    """A session as on a GPU: bound, padded to few sizes; the CPU computes."""

    def __init__(self, bundle: Bundle, schedule: Schedule) -> None:
        super().__init__(bundle, CPU, schedule)
        self.numerics = Numerics("cuda", "fp32")
        self._bindings = Bindings(self._session, "cpu", schedule.sizes, schedule.parallel)
        self.sizes: list[int] = []

    def _run(self, pixels, size: int):
        self.sizes.append(size)
        return super()._run(pixels, size)


def test_a_gpu_fills_up_the_next_larger_size(bundle: Bundle, pixels) -> None:
    """Every number of images is one run of a size that was proved, as long as the largest holds it."""
    gpu = OnAGpu(bundle, Schedule(8, 1))
    for count, sizes in ((1, [1]), (2, [2]), (3, [8]), (8, [8]), (11, [8, 8])):
        gpu.sizes.clear()
        many = (pixels * 2)[:count]
        found = gpu.run(many)
        assert gpu.sizes == sizes
        np.testing.assert_allclose(found, expected(bundle, many), rtol=1e-3, atol=1e-4)


def test_every_size_is_proved_before_it_serves(bundle: Bundle) -> None:
    """So none is prepared while somebody waits."""
    gpu = OnAGpu(bundle, Schedule(8, 2))
    assert gpu.prove(bundle) > 0.9999
    assert set(gpu.sizes) == {1, 2, 8}


def test_pinned_memory_is_memory_where_there_is_no_gpu() -> None:
    """Zeros, writable, on pages of its own."""
    array = cuda.pinned((3, 5), np.float32)
    assert array.shape == (3, 5)
    assert array.dtype == np.float32
    assert not array.any()
    array[1] = 7
    assert array.sum() == 35
    assert array.ctypes.data % 4096 == 0


class Cudart:
    """Stands for CUDA's library: notes what it was asked."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.registered, self.freed = status, [], []

    def cudaHostRegister(self, place, size, flags) -> int:  # noqa: N802 - CUDA's name
        self.registered.append((place.value, size.value))
        return self.status

    def cudaHostUnregister(self, place) -> int:  # noqa: N802 - CUDA's name
        self.freed.append(place.value)
        return 0


@pytest.mark.parametrize("status", [0, 712])
def test_pinned_memory_is_given_back_once(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """With the last array that looks at it; what could not be pinned is not."""
    library = Cudart(status)
    monkeypatch.setattr(cuda, "_runtime", lambda: library)
    array = cuda.pinned((4, 4), np.uint8)
    place = array.ctypes.data
    assert library.registered == [(place, 16)]
    row = array[1]
    del array
    assert library.freed == []
    del row
    assert library.freed == ([place] if status == 0 else [])
