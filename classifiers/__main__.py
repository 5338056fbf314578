"""`python -m classifiers` is `fit-head`."""

from classifiers.cli import main

main()
