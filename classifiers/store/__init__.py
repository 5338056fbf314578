"""Heads on disk: their versions, and the rows each was fitted on."""
