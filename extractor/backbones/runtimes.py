"""Which of the three builds of ONNX Runtime suits this machine, and why.

The Makefile runs this file before anything is installed, so it needs only the
standard library: the extra's name goes to standard output, the reason to
standard error.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Runtime(NamedTuple):
    """An extra of this project (`cpu`, `openvino` or `gpu`) and the reason for it."""

    extra: str
    reason: str


def best() -> Runtime:
    """The runtime for this machine: a GPU first, then OpenVINO where bf16 is in hardware, else plain CPU."""
    card = nvidia_card()
    if card:
        return Runtime("gpu", f"an NVIDIA GPU is here: {card}")
    if platform.machine() not in ("x86_64", "AMD64"):
        return Runtime("cpu", f"no NVIDIA GPU, and OpenVINO is built for x86-64, not {platform.machine()}")
    if has_bf16():
        return Runtime("openvino", "no NVIDIA GPU, and this processor multiplies bf16: about twice as fast")
    return Runtime("cpu", "no NVIDIA GPU, and this processor has no bf16 instructions for OpenVINO to use")


def nvidia_card() -> str | None:
    """The first NVIDIA GPU's name, or None when there is none that works."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().split("\n")[0] or None


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without, bf16 is slower than fp32."""
    return _has_any("avx512_bf16", "amx_bf16")


def has_fp16() -> bool:
    """Whether this processor multiplies float16 in hardware; without, OpenVINO computes fp32 instead."""
    return _has_any("avx512_fp16", "amx_fp16")


def _has_any(*flags: str) -> bool:
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in said for flag in flags)


if __name__ == "__main__":
    runtime = best()
    sys.stderr.write(f"Runtime: {runtime.extra} ({runtime.reason})\n")
    sys.stdout.write(runtime.extra + "\n")
