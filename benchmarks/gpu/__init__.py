"""Checks and figures of a machine with an NVIDIA GPU, which needs nothing else than what it carries."""
