"""Where a container of processes gets a cgroup, and what is done in it: over files that look like the kernel's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.containers.process import cgroup
from emulator.containers.process.cgroup import LEFT_OVER_SECONDS, PREFIX, Cgroup

FILES = ("cgroup.procs", "cgroup.subtree_control", "memory.swap.max", "memory.events")
LIMIT = 64 * 2**20


class Kernel:
    """The cgroups of a machine; this process is in ``own``, with two others."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = directory / "cgroup"
        self.delegated: set[Path] = set()
        self.make_directory, self.remove_directory, self.refused = os.mkdir, os.rmdir, False
        self.mkdir(str(self.root))
        (self.root / "memory.max").unlink()
        self._own = directory / "own"
        monkeypatch.setattr(cgroup, "ROOT", str(self.root))
        monkeypatch.setattr(cgroup, "OWN", str(self._own))
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rmdir", self.rmdir)
        monkeypatch.setattr(os, "getxattr", self.getxattr)
        monkeypatch.setattr(Cgroup, "_can_be_joined", lambda _: True)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        if self.refused:
            raise PermissionError
        self.make_directory(path, mode)
        for name in FILES:
            Path(path, name).touch()
        Path(path, "cgroup.controllers").write_text("cpu memory pids\n")
        Path(path, "memory.max").write_text("max\n")

    def rmdir(self, path: str) -> None:
        if Path(path, "cgroup.procs").read_text():
            raise OSError("busy")
        for file in Path(path).iterdir():
            file.unlink()
        self.remove_directory(path)

    def getxattr(self, path: str, name: str) -> bytes:
        if name == "user.delegate" and Path(path) in self.delegated:
            return b"1"
        raise OSError("no data")

    def run_in(self, *below: str) -> Path:
        """Have this process in a cgroup; the ones above have the controller ``memory`` for those below them."""
        path = self.root
        for name in below:
            (path / "cgroup.subtree_control").write_text("memory pids\n")
            path = path / name
            os.mkdir(path)
        (path / "cgroup.procs").write_text("1\n2\n3\n")
        self._own.write_text(f"0::/{path.relative_to(self.root)}\n".replace("/.\n", "/\n"))
        return path


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda number: monkeypatch.setattr(os, "geteuid", lambda: number)


def parent(made: Cgroup | None) -> Path | None:
    return None if made is None else Path(made.directory).parent


def test_a_user_gets_one_in_a_delegated_cgroup_whose_processes_move_on(
    kernel: Kernel, user: Callable[[int], None]
) -> None:
    own = kernel.run_in("user.slice", "app.scope")
    kernel.delegated.add(own)
    user(1000)
    assert parent(Cgroup.make(LIMIT)) == own
    assert (own / f"{PREFIX}itself" / "cgroup.procs").read_text()  # of which the kernel takes one number at a time
    assert (own / "cgroup.subtree_control").read_text() == "+memory"


def test_a_user_gets_one_beside_a_cgroup_whose_parent_is_delegated(kernel: Kernel, user: Callable[[int], None]) -> None:
    own = kernel.run_in("user.slice", "app.scope", "itself")
    kernel.delegated.add(own.parent)
    user(1000)
    assert parent(Cgroup.make(LIMIT)) == own.parent
    assert (own / "cgroup.procs").read_text() == "1\n2\n3\n"


def test_a_user_gets_none_without_delegation(kernel: Kernel, user: Callable[[int], None]) -> None:
    kernel.run_in("user.slice", "session.scope")
    kernel.delegated.add(kernel.root / "user.slice" / "another.scope")
    user(1000)
    assert Cgroup.make(LIMIT) is None


@pytest.mark.parametrize("below", [(), ("system.slice", "ssh.service")])
def test_root_gets_one_beside_its_own(kernel: Kernel, user: Callable[[int], None], below: tuple[str, ...]) -> None:
    own = kernel.run_in(*below)
    (kernel.root / "cgroup.subtree_control").write_text("memory\n")
    user(0)
    assert parent(Cgroup.make(LIMIT)) == (own.parent if below else kernel.root)


def test_root_does_not_get_around_its_own_limit(kernel: Kernel, user: Callable[[int], None]) -> None:
    own = kernel.run_in("system.slice", "job.service")
    (own / "memory.max").write_text("1073741824\n")
    user(0)
    assert Cgroup.make(LIMIT) is None


def test_there_is_none_with_version_1_or_without_the_controller(kernel: Kernel, user: Callable[[int], None]) -> None:
    user(0)
    own = kernel.run_in("system.slice", "ssh.service")
    (own.parent / "cgroup.subtree_control").write_text("pids\n")
    assert Cgroup.make(LIMIT) is None
    (own.parent / "cgroup.subtree_control").write_text("memory\n")
    (kernel.root / "cgroup.controllers").unlink()
    assert Cgroup.make(LIMIT) is None


def test_there_is_none_where_it_is_refused_or_cannot_be_joined(
    kernel: Kernel, user: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    user(0)
    own = kernel.run_in("system.slice", "ssh.service")
    monkeypatch.setattr(Cgroup, "_can_be_joined", lambda _: False)
    assert Cgroup.make(LIMIT) is None
    assert [path.name for path in own.parent.iterdir() if path.is_dir()] == ["ssh.service"]
    kernel.refused = True
    assert Cgroup.make(LIMIT) is None


def test_it_limits_memory_and_swap_and_counts_kills(kernel: Kernel, user: Callable[[int], None]) -> None:
    user(0)
    kernel.run_in("system.slice", "ssh.service")
    made = Cgroup.make(LIMIT)
    assert made is not None
    directory = Path(made.directory)
    assert (directory / "memory.max").read_text().startswith(str(LIMIT))
    assert (directory / "memory.swap.max").read_text() == "0"
    made.join()
    assert (directory / "cgroup.procs").read_text() == "0"
    assert made.look() == made.kills == 0
    (directory / "memory.events").write_text("low 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert made.look() == made.kills == 2
    (directory / "cgroup.procs").write_text("")
    made.remove()
    made.remove()  # once more changes nothing
    assert not directory.exists()
    assert made.look() == 2


def test_what_killed_keepers_left_is_removed_later(kernel: Kernel, user: Callable[[int], None]) -> None:
    user(0)
    own = kernel.run_in("system.slice", "ssh.service")
    for name, age, processes in (("old", 2, ""), ("used", 2, "7"), ("new", 0, "")):
        directory = own.parent / f"{PREFIX}{name}"
        os.mkdir(directory)
        (directory / "cgroup.procs").write_text(processes)
        then = time.time() - age * LEFT_OVER_SECONDS
        os.utime(directory, (then, then))
    made = Cgroup.make(LIMIT)
    assert made is not None
    left = {path.name.removeprefix(PREFIX) for path in own.parent.iterdir() if path.is_dir()}
    assert left == {"used", "new", "ssh.service", Path(made.directory).name.removeprefix(PREFIX)}
