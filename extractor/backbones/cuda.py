"""What CUDA's own runtime library is asked for beside ONNX Runtime: memory that a GPU reads fast, and how
much of its own is in use.
"""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LIBRARIES = ("libcudart.so.12", "libcudart.so.13", "libcudart.so")


def pinned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros whose memory stays where it is, so that a GPU copies it without help.

    Where it cannot be had, as without a GPU, it is an array like any other.
    """
    kind = np.dtype(dtype)
    pages = mmap.mmap(-1, max(1, math.prod(shape) * kind.itemsize))  # whole pages, and nobody else's
    array: NDArray[Any] = np.ndarray(shape, kind, buffer=pages)
    runtime = _runtime()
    place = ctypes.c_void_p(array.ctypes.data)
    if runtime and runtime.cudaHostRegister(place, ctypes.c_size_t(array.nbytes), ctypes.c_uint(0)) == 0:
        end = weakref.finalize(array, runtime.cudaHostUnregister, place)
        end.atexit = False  # the driver may be gone by then, and gives all back anyway
    return array


def can_pin() -> bool:
    """Whether `pinned` really pins here."""
    runtime = _runtime()
    return bool(runtime) and used_bytes() is not None


def used_bytes() -> int | None:
    """Memory of the first GPU that is in use, by whomever; None where there is none."""
    runtime = _runtime()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if not runtime or runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return total.value - free.value


@functools.cache
def _runtime() -> ctypes.CDLL | None:
    """The library, which ONNX Runtime has loaded already where it uses it."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
