"""Prints the ONNX Runtime of this environment as pip names it, for the peers to have the same."""

from __future__ import annotations

from benchmarks.machine import runtime

if __name__ == "__main__":
    print(runtime().replace(" ", "=="))
