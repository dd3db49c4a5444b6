"""What the machine says of a process, and of itself."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

_LIBC = ctypes.CDLL(None, use_errno=True)


def cpu_seconds(pid: int) -> float:
    """CPU time of a whole process, all threads, user and system, to the nanosecond.

    `/proc` would tell it in hundredths of a second. Raises `ProcessLookupError`.
    """
    clock = ctypes.c_int()
    failed: int = _LIBC.clock_getcpuclockid(ctypes.c_int(pid), ctypes.byref(clock))
    if failed:
        raise ProcessLookupError(failed, os.strerror(failed))
    return time.clock_gettime(clock.value)


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in units of 1,000,000 bytes."""
    return float(psutil.Process(pid).memory_info().rss / 1_000_000)


def filesystem(folder: Path) -> str:
    """The kind of file system that a folder lies on: "tmpfs" is memory."""
    mounts = [
        part
        for part in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(part.mountpoint)
    ]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def facts() -> dict[str, Any]:
    """What a reader must know to compare two runs."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 1),
    }
