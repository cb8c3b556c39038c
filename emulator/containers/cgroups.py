"""The memory that a container on this machine uses, read from its cgroup: the engine's API takes a second for it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def working_set(pid: int, container: str) -> int | None:
    """Bytes of memory that the cgroup of a container's main process uses, without page cache that is not in use.

    As ``docker stats`` counts it. None where that cannot be read: another process has the id here, or none has.
    """
    try:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container not in path:
                continue
            if "memory" in controllers.split(","):
                return _version_1(ROOT / "memory" / path.lstrip("/"))
            if not controllers and (ROOT / "cgroup.controllers").exists():
                return _version_2(ROOT / path.lstrip("/"))
    except (OSError, ValueError, KeyError):
        pass
    return None


def _version_1(group: Path) -> int:
    return _without_cache(group / "memory.usage_in_bytes", group / "memory.stat", "total_inactive_file")


def _version_2(group: Path) -> int:
    return _without_cache(group / "memory.current", group / "memory.stat", "inactive_file")


def _without_cache(usage: Path, figures: Path, cache: str) -> int:
    by_name = dict(line.split() for line in figures.read_text().splitlines())
    return max(0, int(usage.read_text()) - int(by_name[cache]))
