"""What a container uses, read from its cgroup, of both versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.containers.docker import cgroup_usage
from emulator.containers.docker.cgroup_usage import cpu_seconds, working_set

CONTAINER = "0123456789abcdef" * 4
PID = 4711


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that stands for ``/``, with the cgroup file of the container's main process in it."""
    monkeypatch.setattr(cgroup_usage, "ROOT", tmp_path / "sys")
    monkeypatch.setattr(cgroup_usage, "PROCESSES", tmp_path / "proc")
    return tmp_path


def write(files: Path, contents: dict[str, str]) -> None:
    for name, content in contents.items():
        path = files / name.format(pid=PID, container=CONTAINER)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.format(container=CONTAINER))


def version_1(files: Path) -> None:
    cgroups = "9:memory:/docker/{container}\n3:cpu,cpuacct:/docker/{container}\n1:name=systemd:/docker/{container}\n"
    write(
        files,
        {
            "proc/{pid}/cgroup": cgroups,
            "sys/memory/docker/{container}/memory.usage_in_bytes": "1000\n",
            "sys/memory/docker/{container}/memory.stat": "inactive_file 7\ntotal_inactive_file 300\n",
            "sys/cpuacct/docker/{container}/cpuacct.usage": "1500000000\n",
        },
    )


def version_2(files: Path) -> None:
    write(
        files,
        {
            "proc/{pid}/cgroup": "0::/system.slice/docker-{container}.scope\n",
            "sys/cgroup.controllers": "cpu memory\n",
            "sys/system.slice/docker-{container}.scope/memory.current": "1000\n",
            "sys/system.slice/docker-{container}.scope/memory.stat": "anon 5\ninactive_file 300\n",
            "sys/system.slice/docker-{container}.scope/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        },
    )


@pytest.mark.parametrize("version", [version_1, version_2])
def test_both_versions_say_what_is_used_without_idle_page_cache(files: Path, version: Callable[[Path], None]) -> None:
    version(files)
    assert working_set(PID, CONTAINER) == 700
    assert cpu_seconds(PID, CONTAINER) == 1.5


def test_another_process_of_that_id_is_not_the_container(files: Path) -> None:
    version_2(files)
    assert working_set(PID, "another") is None
    assert cpu_seconds(PID + 1, CONTAINER) is None


def test_figures_that_are_missing_are_not_made_up(files: Path) -> None:
    version_2(files)
    write(files, {"sys/system.slice/docker-{container}.scope/memory.stat": "anon 5\n"})
    assert working_set(PID, CONTAINER) is None
