"""Backbones beside each other on one task, and versions of a head on the same rows."""
