"""How many cores there are for this process: its affinity, or less where a container has a quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from extractor import settings
from extractor.quota import quota


def made(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A machine's `proc` and `sys`, with what they say of control groups."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


MACHINES = {
    "version 2": ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
    "version 2, no quota": ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
    "version 2, the host's path": ("0::/pods/a", {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
    "version 2, a group in a smaller one": (
        "0::/pods/a",
        {
            "sys/fs/cgroup/pods/a/cpu.max": "max 100000",
            "sys/fs/cgroup/pods/cpu.max": "100000 50000",
            "sys/fs/cgroup/cpu.max": "800000 100000",
        },
        2,
    ),
    "version 1": (
        "4:memory:/a\n2:cpu,cpuacct:/a\n0::/",
        {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000"},
        0.5,
    ),
    "version 1, no quota": (
        "2:cpu,cpuacct:/",
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "another controller's group": ("3:cpuset:/a", {"sys/fs/cgroup/a/cpu.max": "100000 100000"}, math.inf),
}


@pytest.mark.parametrize(("groups", "files", "cores"), MACHINES.values(), ids=MACHINES)
def test_the_smallest_quota_of_all_groups_holds(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float
) -> None:
    """As the kernel has it: a group has no more than those around it."""
    assert quota(made(tmp_path, groups, files)) == cores


def test_where_nothing_is_said_nothing_is_bounded(tmp_path: Path) -> None:
    """As on a machine without control groups."""
    assert quota(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("affinity", "allowed", "cores"),
    [(64, math.inf, 64), (64, 2.0, 2), (64, 1.5, 2), (64, 0.1, 1), (2, 8.0, 2)],
)
def test_cores_are_the_affinitys_or_the_quotas_rounded_up(
    monkeypatch: pytest.MonkeyPatch, affinity: int, allowed: float, cores: int
) -> None:
    """Whichever are fewer, and never none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    monkeypatch.setattr(settings, "quota", lambda: allowed)
    assert settings.cores() == cores
