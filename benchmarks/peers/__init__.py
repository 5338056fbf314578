"""Servers that do the same job with other libraries, each tuned for this machine; see README.md."""
