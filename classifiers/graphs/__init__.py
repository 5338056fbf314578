"""Heads as ONNX graphs, written directly and proved equal before a file appears.

Converters of whole pipelines got calibrated heads wrong; a head here is a
scaling, a layer and a temperature, so its graph is a handful of nodes. The
package onnx is imported only when a graph is made (the extra `export`).
"""

from __future__ import annotations

from classifiers.graphs.export import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
