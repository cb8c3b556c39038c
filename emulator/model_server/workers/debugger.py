"""A debugger for handlers: with $LOCALMME_DEBUG_PORT, each worker listens for one.

The first listens at that port, the next at the one after it, and so on. What listens is debugpy's adapter, a process
that debugpy starts. It lets the worker go on when the editor is gone, and it ends with the worker and the editor.
"""

from __future__ import annotations

import fcntl
import os
import pdb
import socket
import sys
import tempfile
from types import FrameType

PORT_VARIABLE = "LOCALMME_DEBUG_PORT"
TERMINAL_VARIABLE = "LOCALMME_DEBUG_TERMINAL"  # the device of the user's terminal, if there is one
_HOST = "127.0.0.1"
_PORTS = 1000  # that are tried


class Debugger:
    """Made in the process that forks the workers; each worker has a copy."""

    def __init__(self, first_port: int, terminal: str | None) -> None:
        self._first_port, self._terminal = first_port, terminal
        # A byte for each port: the worker that listens there has locked it.
        self._taken = tempfile.TemporaryFile()  # noqa: SIM115
        self._address = ""
        self._in_terminal: pdb.Pdb | None = None

    def watch(self, model_name: str | None) -> None:
        """Let a debugger attach to this process, and let ``breakpoint()`` stop in it.

        If none is attached, ``breakpoint()`` opens pdb in the user's terminal; without a terminal, it waits for one to
        attach. Without a model, the process only tries the handler out: then breakpoints are passed over. Raises
        ImportError without debugpy, OSError when no port is free.
        """
        if model_name is None:
            sys.breakpointhook = lambda *_, **__: None
            return
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else it warns of the standard library
        import debugpy

        port = self._free_port()
        debugpy.listen((_HOST, port))
        self._address = f"{_HOST}:{port}"
        print(f"A debugger can attach to model {model_name} at {self._address}", file=sys.stderr, flush=True)
        sys.breakpointhook = lambda *_, **__: self._stop(sys._getframe(1))

    def _free_port(self) -> int:
        for port in range(self._first_port, min(self._first_port + _PORTS, 65536)):
            try:
                fcntl.lockf(self._taken, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)  # until this process ends
            except OSError:
                continue
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it may have been in use a moment ago
                try:
                    other.bind((_HOST, port))
                except OSError:  # by another program
                    continue
            return port
        raise OSError(f"no port from {self._first_port} on is free for a debugger")

    def _stop(self, frame: FrameType) -> None:
        import debugpy

        if not debugpy.is_client_connected():
            if self._terminal is not None:
                self._stop_in(self._terminal, frame)
                return
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            print(f"breakpoint() at {place} waits for a debugger at {self._address}", file=sys.stderr, flush=True)
            debugpy.wait_for_client()
        import pydevd  # which debugpy brings along, and finds only after it has been imported itself

        pydevd.settrace(suspend=True, trace_only_current_thread=True, patch_multiprocessing=False, stop_at_frame=frame)

    def _stop_in(self, terminal: str, frame: FrameType) -> None:
        if self._in_terminal is None:
            self._in_terminal = pdb.Pdb(stdin=open(terminal), stdout=open(terminal, "w"))  # noqa: SIM115
        self._in_terminal.set_trace(frame)


def from_environment() -> Debugger | None:
    """The debugger that the environment asks for. Raises ValueError when the port is not a number."""
    port = os.environ.get(PORT_VARIABLE)
    return Debugger(int(port), os.environ.get(TERMINAL_VARIABLE)) if port else None
