"""Keeps one container's process tree, and ends all of it when the emulator ends, however it ends.

    python -m emulator.containers.process.keeper STOP_SECONDS MEMORY_BYTES DIRECTORY SCRATCH COMMAND [ARGUMENT ...]

A small process between the emulator and a container. The first line of its standard input is the
container's environment, as JSON; then it reads the emulator's wishes there, one per line: ``memory``,
``cpu``, ``look`` (at its use of memory, now) and ``stop``, or ``stop=SECONDS`` for other than
STOP_SECONDS. The end of the input means that the emulator is gone, also after kill -9: then SCRATCH, what
it kept on disk for this container, is removed as well. COMMAND runs in DIRECTORY, held to MEMORY_BYTES of
memory if that is not 0. Reports leave on standard output as JSON lines; the container's own output goes to
this process's standard error. On Linux the keeper adopts what the container leaves behind, so that a process
which put itself into a new session is still found; elsewhere such a process is found only while its parent
lives.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time

from emulator.containers.process.cgroup import Cgroup
from emulator.containers.process.memory_watch import MemoryWatch
from emulator.containers.process.tree import Tree

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <sys/prctl.h>
ORPHAN_STOP_SECONDS = 3.0  # once the emulator is gone there is no one left to wait for a slow goodbye
KILL_AGAIN_SECONDS = 0.02  # a tree may fork while it is being killed


def main() -> int:
    stop_seconds, memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    directory, scratch, *command = sys.argv[3:]
    cgroup = Cgroup.make(memory_bytes) if memory_bytes else None
    try:
        return keep(command, directory, scratch, stop_seconds, memory_bytes, cgroup)
    finally:
        if cgroup is not None:
            cgroup.remove()


def keep(
    command: list[str], directory: str, scratch: str, stop_seconds: float, memory_bytes: int, cgroup: Cgroup | None
) -> int:
    """Run the command until nothing of it is left, in a cgroup if there is one for it; the exit code."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if prctl:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    with open(0, "rb", buffering=0, closefd=False) as wishes_from:  # unbuffered: the wishes are read as they come
        first_wish = wishes_from.readline()
    if not first_wish:  # the emulator has gone, or wants no container any more
        return 0
    environment = json.loads(first_wish)

    # Signals arrive as bytes on a pipe, so that one select waits for everything.
    wakeup, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    def prepare_child() -> None:
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if cgroup is not None:
            cgroup.join()

    try:
        child = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            preexec_fn=prepare_child,  # noqa: PLW1509 - there are no threads here
        )
    except OSError as error:
        report(failed=f"{error.strerror}: {command[0]}")
        return 1
    report(started=child.pid, in_cgroup=cgroup is not None)

    tree = Tree(child.pid)
    watch = MemoryWatch(tree, memory_bytes) if memory_bytes and cgroup is None else None
    limit = cgroup or watch
    kills = 0
    deadline: float | None = None  # when SIGTERM turns into SIGKILL

    def begin_to_stop(grace: float) -> None:
        nonlocal deadline
        if deadline is None:
            tree.signal(signal.SIGTERM)
        deadline = min(float("inf") if deadline is None else deadline, time.monotonic() + grace)

    def look_at_memory() -> None:
        if limit is not None:
            limit.look()
            report_kills()

    def report_kills() -> None:
        nonlocal kills
        if limit is not None and limit.kills > kills:
            kills = limit.kills
            # Whom the kernel has killed is not known.
            killed = watch.last_killed if watch is not None else None
            report(kills=kills, killed=killed.pid if killed else 0)

    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wakeup, selectors.EVENT_READ)
    exited = orphaned = False
    while True:
        for pid, status in reap():
            if pid == child.pid:
                exited = True
                if cgroup is not None:
                    look_at_memory()
                report(exited=os.waitstatus_to_exitcode(status))
                # As with a container: when its first process has ended, so do all the others.
                deadline = 0.0
        if deadline is not None and time.monotonic() >= deadline:
            tree.signal(signal.SIGKILL)
            if exited and tree.is_empty():
                if orphaned:
                    import shutil

                    shutil.rmtree(scratch, ignore_errors=True)
                return 0
        if limit is not None and deadline is None and time.monotonic() >= limit.next_look:
            look_at_memory()
        due = limit.next_look if limit is not None and deadline is None else deadline
        pause = None if due is None else max(KILL_AGAIN_SECONDS, due - time.monotonic())
        for key, _ in selector.select(pause):
            if key.fd == wakeup:
                if any(number != signal.SIGCHLD for number in os.read(wakeup, 512)):
                    begin_to_stop(ORPHAN_STOP_SECONDS)
                continue
            wishes = os.read(0, 4096)
            if not wishes:
                selector.unregister(0)
                orphaned = True
                begin_to_stop(min(stop_seconds, ORPHAN_STOP_SECONDS))
            for wish in wishes.split():
                if wish == b"memory":
                    used = tree.memory() if watch is None else watch.count()
                    report_kills()
                    report(memory=used)
                elif wish == b"cpu":
                    report(cpu=tree.cpu_seconds())
                elif wish == b"look":
                    look_at_memory()
                    report(look=0)
                elif wish == b"stop":
                    begin_to_stop(stop_seconds)
                elif wish.startswith(b"stop="):
                    begin_to_stop(float(wish[5:]))


def reap() -> list[tuple[int, int]]:
    """Every child that has ended, with its status; adopted ones too."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, status))


def report(**message: float | str) -> None:
    with contextlib.suppress(OSError):  # no one may listen any more
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
