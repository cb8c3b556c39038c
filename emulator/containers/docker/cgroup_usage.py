"""The memory and processor time of a container on this machine, from its cgroup: the engine's API takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT, PROCESSES = Path("/sys/fs/cgroup"), Path("/proc")
T = TypeVar("T")


def working_set(pid: int, container: str) -> int | None:
    """Bytes of memory that the cgroup of a container's main process uses, without page cache that is not in use.

    As ``docker stats`` counts it. None where that cannot be read: another process has the id here, or none has.
    """
    return _read(pid, container, "memory", _memory_1, _memory_2)


def cpu_seconds(pid: int, container: str) -> float | None:
    """Seconds of processor time that it has used; None as above."""
    return _read(pid, container, "cpuacct", _cpu_1, _cpu_2)


def _read(
    pid: int, container: str, controller: str, version_1: Callable[[Path], T], version_2: Callable[[Path], T]
) -> T | None:
    try:
        for line in (PROCESSES / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container not in path:
                continue
            if controller in controllers.split(","):
                return version_1(ROOT / controller / path.lstrip("/"))
            if not controllers and (ROOT / "cgroup.controllers").exists():
                return version_2(ROOT / path.lstrip("/"))
    except (OSError, ValueError, KeyError):
        pass
    return None


def _memory_1(group: Path) -> int:
    return _without_cache(group / "memory.usage_in_bytes", group / "memory.stat", "total_inactive_file")


def _memory_2(group: Path) -> int:
    return _without_cache(group / "memory.current", group / "memory.stat", "inactive_file")


def _without_cache(usage: Path, figures: Path, cache: str) -> int:
    return max(0, int(usage.read_text()) - int(_figures(figures)[cache]))


def _cpu_1(group: Path) -> float:
    return int((group / "cpuacct.usage").read_text()) / 1e9


def _cpu_2(group: Path) -> float:
    return int(_figures(group / "cpu.stat")["usage_usec"]) / 1e6


def _figures(path: Path) -> dict[str, str]:
    return dict(line.split() for line in path.read_text().splitlines())
