"""The `penultimate` command: puts the parts together. Each subcommand is a module of this folder."""

from __future__ import annotations

from extractor.cli.main import main

__all__ = ["main"]
