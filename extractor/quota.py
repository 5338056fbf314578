"""How much of the processor a container may have: the quotas of Linux' control groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path


def quota(root: Path = Path("/")) -> float:
    """Cores' worth of time that this process may have; infinite where nothing is said.

    Parameters
    ----------
    root : path
        What `proc` and `sys` lie in.
    """
    return min(map(_share, _groups(root)), default=math.inf)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups and of those around them: each is a bound.

    A container may see paths of its host that are not in it; the outermost
    folder that it sees is then its own group.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):  # version 2 names none
            top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
            group = top / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _share(group: Path) -> float:
    """The quota of one group, as version 2 writes it or as version 1 does."""
    said = _text(group / "cpu.max").split()
    said = said or [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if not all(number.isdecimal() for number in said):  # "max", "-1", or nothing
        return math.inf
    time, period = map(int, said)
    return time / period


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
