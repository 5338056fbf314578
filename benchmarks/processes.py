"""Servers in process groups of their own: their processor time and memory, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_GRACE = 15.0


class Group:
    """A command with all processes that it starts.

    Parameters
    ----------
    command : sequence of str
    environment : mapping
        Added to ours.
    log : path
        Where its standard error goes, and its standard output too where `piped` is false.
    piped : bool
        Keep its standard output, to read from.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, *, piped: bool = False
    ) -> None:
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else errors,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def cpu(self) -> float:
        """Processor seconds of the processes that live, so far."""
        fields = [_fields(pid) for pid in self._members()]
        return sum(int(found[11]) + int(found[12]) for found in fields if found) / _TICK

    def memory(self) -> float:
        """MB that they hold; what several share counts once."""
        return self._sum("Pss:")

    def anonymous(self) -> float:
        """MB that they hold, files left out."""
        return self._sum("Anonymous:")

    def _sum(self, what: str) -> float:
        return sum(_rolled_up(pid, what) for pid in self._members()) / 1024

    def end(self) -> None:
        """Tell them to stop; after a grace period, kill them."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self._wait(time.monotonic() + _GRACE)
            except ProcessLookupError:
                break
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _wait(self, until: float) -> None:
        while time.monotonic() < until:
            self.process.poll()  # or it stays a zombie, which is a member too
            os.killpg(self.process.pid, 0)
            time.sleep(0.05)

    def _members(self) -> Iterator[int]:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                fields = _fields(int(entry.name))
                if fields and int(fields[2]) == self.process.pid:
                    yield int(entry.name)


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _rolled_up(pid: int, what: str) -> int:
    """kB; nothing when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(what)), 0)
