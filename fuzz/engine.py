"""Runs one target: seeds, options of libFuzzer, where things lie."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

CORPUS = Path(".fuzz")


def run(name: str, target: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Feed `target` until an option of libFuzzer's on the command line ends it, such as `-max_total_time=60`.

    Parameters
    ----------
    name : str
        Of the folder for the inputs that led somewhere new.
    target : callable
        Raises when something is wrong.
    seeds : iterable of bytes
        Inputs to begin with.
    """
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    options = [argument for argument in sys.argv if argument not in files]
    atheris.Setup([*options, "-timeout=30", f"-artifact_prefix={CORPUS}/", *(files or [str(corpus)])], target)
    atheris.Fuzz()
