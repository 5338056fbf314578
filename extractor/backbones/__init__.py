"""Backbones: which there are, their export, and running them."""
