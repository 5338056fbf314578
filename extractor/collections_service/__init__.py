"""Collections over gRPC: what is open and shared, what is written together, a module for each large call."""

from __future__ import annotations

from extractor.collections_service.service import CollectionsService
from extractor.collections_wire.messages import SERVICE

__all__ = ["SERVICE", "CollectionsService"]
