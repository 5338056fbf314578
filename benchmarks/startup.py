"""How long `penultimate --help` and `fit-head --help` take, beside a bare Python and the limit of 0.5 s.

python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import describe

LIMIT_S = 0.5
BIN = Path(sys.executable).parent


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    print(describe())
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "penultimate --help": [str(BIN / "penultimate"), "--help"],
        "penultimate embed --help": [str(BIN / "penultimate"), "embed", "--help"],
        "fit-head --help": [str(BIN / "fit-head"), "--help"],
    }
    for name, command in commands.items():
        median = statistics.median(seconds(command) for _ in range(9))
        print(f"{name:28} {median:.3f} s  {median / LIMIT_S:.2f} of the limit")


if __name__ == "__main__":
    main()
