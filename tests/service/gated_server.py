"""A real server process whose images wait for a line on standard input: for tests of signals.

Prints its address, then a line for every image that was submitted.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future

from extractor.results import Result
from extractor.server import Server, run
from tests.service.conftest import StandIn


def main() -> None:
    embedder = StandIn()
    embedder.on_submit = lambda image, future: threading.Thread(
        target=answer, args=(embedder, future), daemon=True
    ).start()
    server = Server(embedder, "127.0.0.1:0")
    run(server, lambda: say(server.address))


gate = threading.Event()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def answer(embedder: StandIn, future: Future[Result]) -> None:
    say("submitted")
    gate.wait()
    embedder.settle(future, 1)


def open_gate() -> None:
    if sys.stdin.readline():
        gate.set()


if __name__ == "__main__":
    threading.Thread(target=open_gate, daemon=True).start()
    main()
