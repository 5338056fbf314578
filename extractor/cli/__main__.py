"""`python -m extractor.cli` is `penultimate`."""

from extractor.cli import main

main()
