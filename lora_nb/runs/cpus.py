"""How many cores this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["physical_cores"]

_CPUS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def physical_cores(cpus: Path = _CPUS, cgroup: Path = _CGROUP) -> int:
    """Physical cores among those this process may run on, within a container's quota, at least 1.

    Two hyper-threads share one set of arithmetic units, so matrix products gain nothing from
    counting both.
    """
    usable = _usable()
    cores = {_siblings(cpus / f"cpu{number}", number) for number in usable}
    return max(1, min(len(cores), _quota(cgroup, len(usable))))


def _usable() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _siblings(cpu: Path, number: int) -> str:
    try:
        return (cpu / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)


def _quota(cgroup: Path, otherwise: int) -> int:
    """The whole cores that a container's CPU limit grants (cgroup version 2, then 1)."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return otherwise
    try:
        granted = int(quota) // int(period)
    except (ValueError, ZeroDivisionError):
        return otherwise
    return max(1, granted) if granted >= 0 else otherwise
