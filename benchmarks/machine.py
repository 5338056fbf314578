"""The line that says on what a benchmark ran."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from pathlib import Path

from extractor.settings import cores


def describe() -> str:
    """Processor, cores, memory, Python, ONNX Runtime build and date."""
    return (
        f"{_processor()}, {cores()} cores, {_memory_gib():.0f} GiB, Python {platform.python_version()}, "
        f"{runtime()}, {time.strftime('%Y-%m-%d')}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory_gib() -> float:
    line = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(line.split()[1]) / 2**20


def runtime() -> str:
    """The installed ONNX Runtime build and its version."""
    for name in ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "no ONNX Runtime"
