"""The processes that fork the workers: single-threaded, so that a fork is quick and safe.

The first spawner is nearly empty: it is forked before the server imports an event loop. A spawner also forks further
spawners, which import modules for their workers before they fork any (see ``preloading``). Server and spawner exchange
messages over a socket pair. When the server's end closes, however the server ended, the spawner kills the remaining
workers and exits. That ends a worker even while a handler holds the interpreter, which no thread inside the worker
could do.
"""

from __future__ import annotations

import atexit
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
# To the spawner: fork a worker (with a socket); fork a spawner (with a socket); kill the worker with this pid.
_FORK, _BRANCH, _KILL = b"F", b"B", b"K"
_STARTED, _EXITED = b"S", b"X"  # to the server: pid, or 0 and errno; pid and wait status
# [ours] How much more the kernel prefers a worker to other processes, in thousandths of the memory that there is.
OOM_PREFERENCE = 500

Work = Callable[[socket.socket], None]
Prepare = Callable[[socket.socket], bool]


class Spawner:
    """A spawner as the server sees it. Workers are identified by their pid."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self._control = control
        self._pid = pid
        self.lost = False
        self._branches: dict[int, Spawner | None] = {}  # by pid; None = not ready yet
        self._starting: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}

    def attach(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        """Read the spawner's messages in ``loop``; ``on_lost`` is called if the spawner dies."""
        self._loop, self._on_lost = loop, on_lost
        loop.add_reader(self._control.fileno(), self._receive)

    @property
    def is_used(self) -> bool:
        """Whether a worker runs that this spawner or a branch of it has forked, or a branch prepares itself."""
        branches = map(self._branches.get, self._exits)
        return bool(self._starting) or any(branch is None or branch.is_used for branch in branches)

    async def fork(self, worker_socket: socket.socket) -> tuple[int, asyncio.Future[int]]:
        """Fork a worker with ``worker_socket``. Returns its pid, and a future of its wait status.

        Raises OSError when there is no memory, process or file descriptor left.
        """
        return await self._fork(_FORK, worker_socket)

    async def branch(self, spawner_socket: socket.socket) -> int:
        """Fork a spawner, which prepares itself with what comes over ``spawner_socket``. Returns its pid.

        Raises OSError, as ``fork``.
        """
        pid, _ = await self._fork(_BRANCH, spawner_socket)
        self._branches[pid] = None
        return pid

    def adopt(self, control: socket.socket, pid: int) -> Spawner:
        """The spawner that a branch has become when it is prepared; ``control`` is the other end of its socket."""
        self._branches[pid] = branch = Spawner(control, pid)
        branch.attach(self._loop, self._lose)
        return branch

    def abandon(self, branch: Spawner) -> None:
        """End a branch, which must have no branches of its own."""
        self._branches = {pid: each for pid, each in self._branches.items() if each is not branch}
        branch._disconnect()

    async def _fork(self, kind: bytes, child_socket: socket.socket) -> tuple[int, asyncio.Future[int]]:
        started: asyncio.Future[tuple[int, asyncio.Future[int]]] = self._loop.create_future()
        socket.send_fds(self._control, [_MESSAGE.pack(kind, 0, 0)], [child_socket.fileno()])
        self._starting.append(started)
        return await started

    def _lose(self) -> None:
        self.lost = True
        self._on_lost()

    def kill(self, pid: int) -> None:
        """Kill a worker. The spawner does it, as only the parent knows that the pid is still that worker's."""
        if pid in self._exits:
            self._control.sendall(_MESSAGE.pack(_KILL, pid, 0))

    def close(self) -> None:
        """End the spawner, its branches and all remaining workers; returns when they have ended."""
        self._disconnect()
        os.waitpid(self._pid, 0)

    def _disconnect(self) -> None:
        for branch in self._branches.values():
            if branch is not None:
                branch._disconnect()
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self._end_waiting()

    def _end_waiting(self) -> None:
        """Nothing comes any more for those who wait for a worker's start or end."""
        for started in self._starting:
            if not started.done():
                started.set_exception(OSError(errno.ECHILD, "the process that starts workers has ended"))
        for exited in self._exits.values():
            exited.set_result(signal.SIGKILL)
        self._starting.clear()
        self._exits.clear()

    def _receive(self) -> None:
        message = self._control.recv(_MESSAGE.size, socket.MSG_WAITALL)
        if len(message) < _MESSAGE.size:
            self._loop.remove_reader(self._control.fileno())
            for pid in self._exits:  # nobody else can kill them now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, _end_signal(pid in self._branches))
            self._end_waiting()
            self._lose()
            return
        kind, pid, detail = _MESSAGE.unpack(message)
        if kind == _EXITED:
            self._branches.pop(pid, None)
            self._exits.pop(pid).set_result(detail)
            return
        started = self._starting.popleft()
        if pid == 0:
            started.set_exception(OSError(detail, os.strerror(detail)))
        else:
            self._exits[pid] = self._loop.create_future()
            started.set_result((pid, self._exits[pid]))


def _end_signal(is_branch: bool) -> signal.Signals:
    """What ends a worker, or a spawner that is not prepared yet; others ignore it, as they end with the server."""
    return signal.SIGTERM if is_branch else signal.SIGKILL


def start(work: Work, prepare: Prepare) -> Spawner:
    """Fork the first spawner. Each worker of a spawner runs ``work(its socket)``, and exits when that returns.

    Each further spawner first runs ``prepare(its socket)``, and exits if that returns False.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        run(theirs, work, prepare)
    theirs.close()
    return Spawner(ours, pid)


# Of this package, another Python imports only ``emulator``, which is not on its path: the libraries beside it are for
# the server's Python.
_IN_ANOTHER_PYTHON = """
import functools, importlib.util, socket, sys
sys.path[:] = filter(None, sys.path)
directory, descriptor = sys.argv[1:]
sys.argv[1:] = []
spec = importlib.util.spec_from_file_location(
    "emulator", directory + "/__init__.py", submodule_search_locations=[directory]
)
sys.modules["emulator"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["emulator"])
from emulator.model_server.workers import debugger, preloading, spawner, worker
work = functools.partial(worker.work, debugger.from_environment())
spawner.run(socket.socket(fileno=int(descriptor)), work, preloading.prepare)
"""


def start_in(python: str) -> Spawner:
    """Start the first spawner in another Python, with the modules of this package. Raises OSError if it cannot run."""
    ours, theirs = socket.socketpair()
    package = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    options = ["-B"] if sys.dont_write_bytecode else []
    with theirs:
        theirs.set_inheritable(True)
        arguments = [python, *options, "-c", _IN_ANOTHER_PYTHON, package, str(theirs.fileno())]
        try:
            pid = os.posix_spawn(python, arguments, os.environ)  # without a fork, as this process may have threads
        except OSError:
            ours.close()
            raise
    return Spawner(ours, pid)


def run(control: socket.socket, work: Work, prepare: Prepare) -> None:
    """Be a spawner; it does not return, except in its workers."""
    atexit.register(_exit_at_once)  # the first, so that it runs after those of handlers and their modules
    _serve(control, work, prepare)


_finished: list[bool] = []  # in a worker: whether its work has returned


def _exit_at_once() -> None:
    """Exit without taking the interpreter apart, which would copy all that the workers share."""
    if _finished:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(0)


def _serve(control: socket.socket, work: Work, prepare: Prepare) -> None:
    """A spawner's main loop, which does not return. In a worker, it raises SystemExit when ``work`` returns."""
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

    workers: set[int] = set()  # and branches
    branches: set[int] = set()
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            for pid, status in _reap(workers):
                workers.discard(pid)
                branches.discard(pid)
                _report(control, _EXITED, pid, status)
        if control not in ready:
            continue
        kind, pid, sockets = _next_message(control)
        if kind is None:
            break
        if kind == _KILL and pid in workers:
            os.kill(pid, signal.SIGKILL)
        elif kind in (_FORK, _BRANCH):
            try:
                pid = os.fork()
            except OSError as error:
                _report(control, _STARTED, 0, error.errno or errno.EAGAIN)
            else:
                if pid == 0:
                    _become_worker(control, woken, waker)
                    connection = socket.socket(fileno=sockets[0])
                    if kind == _BRANCH and prepare(connection):
                        _serve(connection, work, prepare)
                    elif kind == _BRANCH:
                        os._exit(0)
                    _be_killed_first()
                    work(connection)
                    _finished.append(True)
                    sys.exit()
                workers.add(pid)
                if kind == _BRANCH:
                    branches.add(pid)
                _report(control, _STARTED, pid, 0)
        for descriptor in sockets:
            os.close(descriptor)

    for pid in workers:
        os.kill(pid, _end_signal(pid in branches))
    for pid in workers:
        os.waitpid(pid, 0)
    os._exit(0)


def _become_worker(*inherited: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for end in inherited:
        end.close()


def _be_killed_first() -> None:
    """If memory runs out, have the kernel kill a worker rather than a spawner, to which it adds what all share."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as preference:
        if int(preference.read()) < OOM_PREFERENCE:
            preference.write(str(OOM_PREFERENCE))


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
