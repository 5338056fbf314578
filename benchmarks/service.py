"""What the service costs on top of the work itself.

    python -m benchmarks.service --data DIR [--provider cpu] [--images 10000]

Starts the real server as a process, without its cache, and a client in
another. The limit is measured in the same run, in turns with the service: as
many threads as cores, each decoding an image and running the network. Prints
the machine, the settings, and

- the service's images/s and their ratio to the limit (median over rounds);
- the same ratio in processor time, which other load on the machine blurs less;
- the median time of a call with one image, over the same work in process;
- the server's memory after `--images` images;
- images/s when the server remembers them: through `Client.stream`, which asks
  before it sends, and by digests alone (`Client.lookup`), over images/s computed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.machine import describe
from benchmarks.photos import jpegs, solar_cells
from extractor.client import Client
from extractor.settings import DEFAULT_BACKBONE, DataFolder, cores

Work = Callable[[bytes], Any]


class Round(NamedTuple):
    """One round: images/s, and processor milliseconds an image (server and client, or this process)."""

    rate: float
    cpu: float


class Service:
    """The server in its process, and a client in another."""

    def __init__(self, server: subprocess.Popen[str], client: ProcessPoolExecutor) -> None:
        self.pid = server.pid
        self.client = client

    def round(self, count: int) -> Round:
        begun = _server_cpu(self.pid)
        rate, client = self.client.submit(_stream, count).result()
        server = _server_cpu(self.pid) - begun
        return Round(rate, 1e3 * (server + client) / count)

    def resident(self) -> float:
        """MB of memory that the server holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    options = _options()
    photos = solar_cells() if options.photos == "elpv" else jpegs()
    with serving(options, photos) as service:
        work = in_process(options)
        print(describe())
        sizes = f"{len(photos)} distinct images, median {median(map(len, photos)) / 1e3:.0f} kB"
        print(f"{DEFAULT_BACKBONE}, {service.client.submit(_numerics).result()}, no cache, {sizes}")
        report_throughput(lambda: limit(work, photos, options.round), service, options)
        report_single_call(work, photos, service)
        report_memory(service, options)
    with remembering(options) as data, serving(data, photos) as service:
        report_remembered(service)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=lambda text: DataFolder(Path(text)), default=DataFolder.default())
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--photos", choices=["jpeg", "elpv"], default="jpeg")
    parser.add_argument("--images", type=int, default=10_000, help="images before the memory is read")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--round", type=int, default=600, help="images a round")
    parser.set_defaults(cache=False)
    return parser.parse_args()


def report_throughput(limit: Callable[[], Round], service: Service, options: argparse.Namespace) -> None:
    limit(), service.round(options.round)  # not counted: first touches
    bounds, served = [], []
    for number in range(options.rounds):
        if number % 2:  # each goes first in turn, so that a drift of the machine cancels
            bounds.append(limit())
        served.append(service.round(options.round))
        if not number % 2:
            bounds.append(limit())
    ratios = sorted(ours.rate / bound.rate for bound, ours in zip(bounds, served, strict=True))
    in_cpu = sorted(bound.cpu / ours.cpu for bound, ours in zip(bounds, served, strict=True))
    print(f"limit       {_medians(bounds)}: decode and network, in process")
    print(f"service     {_medians(served)}: server and client")
    print(f"ratio       {median(ratios):.3f}, rounds {ratios[0]:.3f} to {ratios[-1]:.3f}")
    print(f"cpu ratio   {median(in_cpu):.3f}, rounds {in_cpu[0]:.3f} to {in_cpu[-1]:.3f}")


def _medians(rounds: list[Round]) -> str:
    return (
        f"{median(r.rate for r in rounds):4.0f} images/s, {median(r.cpu for r in rounds):.2f} cpu ms an image"
    )


def report_single_call(work: Work, photos: list[bytes], service: Service) -> None:
    calls, alone = [], []
    for _ in range(5):
        calls += service.client.submit(_single_calls, 60).result()
        alone += [_timed(work, photo) for photo in photos[:60]]
    call, direct = 1e3 * median(calls), 1e3 * median(alone)
    print(f"one call    p50 {call:.2f} ms, in process {direct:.2f} ms, {call - direct:.2f} ms over it")


def report_memory(service: Service, options: argparse.Namespace) -> None:
    done = (options.rounds + 1) * options.round + 300
    before = f"{service.resident():.0f} MB after {done} images"
    while done < options.images:
        service.round(options.round)
        done += options.round
    print(f"memory      {before}, {service.resident():.0f} MB after {done}")


def report_remembered(service: Service) -> None:
    rates = service.client.submit(_remembered).result()
    ways = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    print(f"remembered  {ways} images/s")


@contextmanager
def remembering(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The options for a server that begins with an empty cache, and keeps it."""
    with TemporaryDirectory() as folder:
        data = DataFolder(Path(folder))
        data.backbones.symlink_to(options.data.backbones.resolve())
        yield argparse.Namespace(**{**vars(options), "data": data, "cache": True})


def in_process(options: argparse.Namespace) -> Work:
    """The work on one image and nothing else."""
    from extractor import images
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.session import open_session

    bundle = Bundle.of(options.data, DEFAULT_BACKBONE)
    session, _ = open_session(bundle, options.provider, options.precision)
    spec = bundle.manifest.preprocessing
    return lambda photo: session.run([images.decode(photo, spec)])


def limit(work: Work, photos: list[bytes], count: int) -> Round:
    """All cores busy with `work`."""
    jobs = islice(cycle(photos), count)
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                photo = next(jobs, None)
            if photo is None:
                return
            work(photo)

    cpu, begun = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(cores()) as threads:
        for done in [threads.submit(run) for _ in range(cores())]:
            done.result()
    return Round(count / (time.perf_counter() - begun), 1e3 * (time.process_time() - cpu) / count)


@contextmanager
def serving(options: argparse.Namespace, photos: list[bytes]) -> Iterator[Service]:
    """A server and a client, each in a process of its own."""
    command = [sys.executable, "-m", "extractor.cli", "serve", "--address", "127.0.0.1:0"]
    command += [] if options.cache else ["--no-cache"]
    command += ["--data", str(options.data.root), "--log-level", "warning"]
    command += ["--provider", options.provider, "--precision", options.precision]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        line = server.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit("the server did not start")
        spawn = multiprocessing.get_context("spawn")
        connect = (line.split()[2], photos)
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=_connect, initargs=connect) as client:
            yield Service(server, client)
    finally:
        server.terminate()
        server.wait()


def _server_cpu(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# What follows runs in the client's process.
_client: Client
_photos: list[bytes]


def _connect(address: str, photos: list[bytes]) -> None:
    global _client, _photos
    _client, _photos = Client(address), photos


def _numerics() -> str:
    return _client.numerics


def _stream(count: int) -> tuple[float, float]:
    """Images/s, and this process's processor seconds."""
    cpu, begun = time.process_time(), time.perf_counter()
    done = sum(result.ok for result in _client.stream(islice(cycle(_photos), count)))
    if done != count:
        raise RuntimeError(f"{count - done} of {count} images failed")
    return count / (time.perf_counter() - begun), time.process_time() - cpu


def _remembered() -> dict[str, float]:
    """Images/s: computed, remembered through the client, remembered by digests alone."""
    computed, _ = _stream(len(_photos))
    streamed, _ = _stream(20 * len(_photos))
    digests = [hashlib.sha256(photo).digest() for photo in _photos] * 50
    seconds = _timed(_client.lookup, digests)
    return {"computed": computed, "stream": streamed, "digests alone": len(digests) / seconds}


def _single_calls(count: int) -> list[float]:
    return [_timed(lambda photo: _client.embed([photo]), photo) for photo in _photos[:count]]


def _timed(work: Callable[[Any], Any], what: Any) -> float:
    begun = time.perf_counter()
    work(what)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
