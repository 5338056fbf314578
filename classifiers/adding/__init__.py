"""A class more, from its images and what the head kept: nothing else is embedded or fitted again."""

from __future__ import annotations

from classifiers.adding.head import Extended, add_class

__all__ = ["Extended", "add_class"]
