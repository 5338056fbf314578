"""Heads over gRPC: what travels, as values (`values`) and as messages (`messages`)."""
