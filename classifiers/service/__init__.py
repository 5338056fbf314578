"""Heads over gRPC: what is asked (`service`), what answers (`answers`), a module for each large call."""

from __future__ import annotations

from classifiers.service.service import HeadsService

__all__ = ["HeadsService"]
