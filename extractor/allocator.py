"""How the C library keeps memory for blocks of a size that images have. Only glibc takes notice."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8
_ARENAS = 2
_BLOCK = 16 * 2**20


def share_arenas() -> None:
    """Let this process's threads share two heaps, unless $MALLOC_ARENA_MAX says how many.

    glibc gives each of the first threads a heap of its own, up to eight a
    core. Images go from thread to thread, and each heap keeps what it once
    had for itself: a quarter of a server's memory. For a process of our own
    alone, and before it has threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, _ARENAS)


def keep_freed_memory() -> None:
    """Let the memory of one request serve the next.

    glibc gives memory back to the system where more is free than twice the
    largest block that was ever freed: requests of two megabytes would get each
    of their pages anew. So a larger block is freed here, which was never
    touched and cost nothing.
    """
    bytes(_BLOCK)
