"""The process that forks the workers: single-threaded and nearly empty, so that a fork is quick, small and safe.

It is forked before the server imports an event loop. Server and spawner exchange messages over a socket pair. When the
server's end closes, however the server ended, the spawner kills the remaining workers and exits. That ends a worker
even while a handler holds the interpreter, which no thread inside the worker could do.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # asyncio must not be imported before the fork
    import asyncio

_MESSAGE = struct.Struct("!cii")
_FORK, _KILL = b"F", b"K"  # to the spawner: fork a worker (with a socket); kill the worker with this pid
_STARTED, _EXITED = b"S", b"X"  # to the server: pid, or 0 and errno; pid and wait status


class Spawner:
    """The spawner as the server sees it. Workers are identified by their pid."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self._control = control
        self._pid = pid
        self.lost = False
        self._starting: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}

    def attach(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        """Read the spawner's messages in ``loop``; ``on_lost`` is called if the spawner dies."""
        self._loop, self._on_lost = loop, on_lost
        loop.add_reader(self._control.fileno(), self._receive)

    async def fork(self, worker_socket: socket.socket) -> tuple[int, asyncio.Future[int]]:
        """Fork a worker with ``worker_socket``. Returns its pid, and a future of its wait status.

        Raises OSError when there is no memory, process or file descriptor left.
        """
        started: asyncio.Future[tuple[int, asyncio.Future[int]]] = self._loop.create_future()
        socket.send_fds(self._control, [_MESSAGE.pack(_FORK, 0, 0)], [worker_socket.fileno()])
        self._starting.append(started)
        return await started

    def kill(self, pid: int) -> None:
        """Kill a worker. The spawner does it, as only the parent knows that the pid is still that worker's."""
        if pid in self._exits:
            self._control.sendall(_MESSAGE.pack(_KILL, pid, 0))

    def close(self) -> None:
        """End the spawner and all remaining workers; returns when they have ended."""
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        os.waitpid(self._pid, 0)

    def _receive(self) -> None:
        message = self._control.recv(_MESSAGE.size, socket.MSG_WAITALL)
        if len(message) < _MESSAGE.size:
            self._loop.remove_reader(self._control.fileno())
            for pid in self._exits:  # nobody else can kill them now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._exits.clear()
            self.lost = True
            self._on_lost()
            return
        kind, pid, detail = _MESSAGE.unpack(message)
        if kind == _EXITED:
            self._exits.pop(pid).set_result(detail)
            return
        started = self._starting.popleft()
        if pid == 0:
            started.set_exception(OSError(detail, os.strerror(detail)))
        else:
            self._exits[pid] = self._loop.create_future()
            started.set_result((pid, self._exits[pid]))


def start(work: Callable[[socket.socket], None]) -> Spawner:
    """Fork the spawner. Each worker that it forks runs ``work(its socket)``, and exits when that returns."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs, work)
    theirs.close()
    return Spawner(ours, pid)


def _serve(control: socket.socket, work: Callable[[socket.socket], None]) -> None:
    """The spawner's main loop, which does not return. In a worker, it raises SystemExit when ``work`` returns."""
    # The server handles Ctrl-C and a SIGTERM to the process group; the spawner ends with the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    gc.freeze()  # the collector would write to, and so copy, every page that the workers share with the spawner

    workers: set[int] = set()
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            for pid, status in _reap(workers):
                workers.discard(pid)
                _report(control, _EXITED, pid, status)
        if control not in ready:
            continue
        kind, pid, sockets = _next_message(control)
        if kind is None:
            break
        if kind == _KILL and pid in workers:
            os.kill(pid, signal.SIGKILL)
        elif kind == _FORK:
            try:
                pid = os.fork()
            except OSError as error:
                _report(control, _STARTED, 0, error.errno or errno.EAGAIN)
            else:
                if pid == 0:
                    _become_worker(control, woken, waker)
                    work(socket.socket(fileno=sockets[0]))
                    sys.exit()
                workers.add(pid)
                _report(control, _STARTED, pid, 0)
        for descriptor in sockets:
            os.close(descriptor)

    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        os.waitpid(pid, 0)
    os._exit(0)


def _become_worker(*inherited: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for end in inherited:
        end.close()


def _next_message(control: socket.socket) -> tuple[bytes | None, int, list[int]]:
    """The kind of the next message, a worker's pid, and sockets; the kind is None when the server has gone."""
    try:
        # One message at a time, so that each comes with its own socket.
        message, sockets, _, _ = socket.recv_fds(control, _MESSAGE.size, 1)
    except ConnectionResetError:  # the server was killed before it had read all messages
        return None, 0, []
    if len(message) < _MESSAGE.size:
        return None, 0, []
    kind, pid, _ = _MESSAGE.unpack(message)
    return kind, pid, sockets


def _report(control: socket.socket, kind: bytes, pid: int, detail: int) -> None:
    with contextlib.suppress(OSError):  # the server has gone, which the loop will notice
        control.sendall(_MESSAGE.pack(kind, pid, detail))


def _reap(workers: set[int]) -> list[tuple[int, int]]:
    """The pids and wait statuses of workers that have ended."""
    gone = []
    for _ in workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        gone.append((pid, status))
    return gone
