"""What the C library is told about memory is what it then does."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

HEAPS = """
import ctypes, sys, threading
from extractor import allocator
if sys.argv[2] == "shared":
    allocator.share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(6)
def take():
    libc.malloc(ctypes.c_size_t(1000))  # a thread that begins alone may take a heap that another left
    together.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""

PAGES = """
import resource, sys
from extractor import allocator
if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def requests():
    for number in range(20):
        three = [bytes([1]) * (1_500_000 + number) for _ in range(3)]
        del three
requests()
before = faults()
requests()
print(faults() - before)
"""


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told anything")


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_threads_share_two_heaps(tmp_path: Path) -> None:
    """Left alone, each of several threads has its own."""
    heaps = {}
    for how in ("shared", "own"):
        file = tmp_path / how
        run(HEAPS, str(file), how)
        heaps[how] = file.read_text().count("<heap nr=")
    assert heaps["shared"] <= 2 < heaps["own"]


def test_freed_memory_serves_the_next_request() -> None:
    """Its pages are not asked of the system again, as they are otherwise."""
    assert int(run(PAGES, "kept")) < 100 < int(run(PAGES, "left"))
