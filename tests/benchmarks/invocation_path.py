"""A warm call through the emulator's own code and through the bare proxy's, without sockets: processor time, and calls.

    python -m tests.benchmarks.invocation_path [CALLS] [--calls]

What is written to a transport comes back by the event loop, as it would from the network. So the figures are of Python
alone: no kernel, no container, no noise of a load generator. ``--calls`` counts the functions, modules and byte codes
of one call, which do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop
from uvicorn.server import ServerState

from emulator.clock import Clock
from emulator.containers.connection_pool import ConnectionPool
from emulator.containers.container import Container
from emulator.containers.http_connection import HttpConnection
from emulator.containers.launch import Command
from emulator.events import Events
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.definition import (
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.endpoints import Endpoints
from emulator.hosting.workspace import Workspace
from emulator.limits import Limits
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.container_log_files import ContainerLogFiles
from emulator.observers.model_calls import ModelCalls
from emulator.observers.model_counts import CountsByEndpoint
from emulator.observers.recent_entries import RecentEntries
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.observers.terminal import TerminalLog
from emulator.observers.totals import Totals
from emulator.server.connection import Connection, configured
from emulator.server.worker import KEEPALIVE_SECONDS
from emulator.services.runtime.app import RuntimeApp
from tests.benchmarks.bare_proxy import Caller, Upstream
from tests.support.files import archive
from tests.support.repository import REPOSITORY

ROUNDS = 300  # short ones: on a busy machine, the least of many is the undisturbed one
MODEL = "model.tar.gz"
REQUEST = (
    b"POST /endpoints/local/invocations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Amzn-SageMaker-Target-Model: "
    b"model.tar.gz\r\nContent-Type: text/csv\r\nContent-Length: 11\r\n\r\n0.1,0.2,0.3"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\nDate: Sat, 28 Nov 2026 06:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n[0.1, 0.2, 0.3, 0.6]"
)


class Wire(asyncio.Transport):
    """A transport whose other end does what ``written`` says."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._written = written
        self._socket, self._other = socket.socketpair()

    def write(self, data: Any) -> None:
        self._written(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def answering(protocol: asyncio.Protocol) -> Wire:
    """Connect it to a container that answers each request at once."""
    loop = asyncio.get_running_loop()

    def answer(_: bytes) -> None:
        loop.call_soon(protocol.data_received, ANSWER)

    wire = Wire(answer)
    protocol.connection_made(wire)
    return wire


class Calling:
    """A caller that sends one request after the other."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._done = self._loop.create_future()
        self.answered = b""
        protocol.connection_made(Wire(self._written))

    def _written(self, data: bytes) -> None:
        self.answered += data
        if not self.answered.endswith(ANSWER[-20:]):
            return
        self._left -= 1
        if self._left:
            self.answered = b""
            self._loop.call_soon(self._protocol.data_received, REQUEST)
        else:
            self._loop.call_soon(self._done.set_result, None)

    async def call(self, times: int) -> float:
        """Microseconds of processor time a call."""
        self.answered = b""
        self._left, self._done = times, self._loop.create_future()
        began = time.process_time()
        self._protocol.data_received(REQUEST)
        await self._done
        return (time.process_time() - began) / times * 1e6


class AnsweringContainer(Container):
    host, port = "127.0.0.1", 80

    async def start(self) -> None: ...

    async def wait(self) -> str:
        await asyncio.Event().wait()
        return "ended"

    async def stop(self, seconds: float | None = None) -> None: ...

    async def memory_used(self) -> int:
        return 0

    async def cpu_seconds(self) -> float | None:
        return None

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)


async def _open_connection(_: ConnectionPool) -> tuple[Wire, HttpConnection]:
    connection = HttpConnection()
    return answering(connection), connection


async def emulated(directory: Path) -> Connection:
    """A caller's connection to the emulator, wired as the application wires it."""
    ConnectionPool._open_connection = _open_connection  # type: ignore[assignment, method-assign]
    archive(directory / "s3" / MODEL, {"model.json": "{}"})
    events, limits, clock = Events(), Limits(), Clock()
    endpoints = Endpoints(Workspace(directory / "disks", lambda *_: AnsweringContainer(), limits, events, clock))
    for listener in (
        TerminalLog("http://127.0.0.1:8080", {}),
        CloudWatchMetrics(),
        RecentLogLines(),
        ContainerLogFiles(directory),
        CountsByEndpoint(clock.now),
        RecentEntries(clock),
        Totals(),
        ModelCalls(),
    ):
        listener.listen_to(events)
    container = ContainerDefinition(Command(("true",), directory), directory / "s3")
    variant = VariantDefinition(ModelDefinition([container]), Resources(2**30, 2**30, 2))
    endpoint = endpoints.add(EndpointDefinition("local", [variant]))
    await endpoint.start()
    runtime = RuntimeApp(endpoints, limits, events, clock)
    nobody: Any = None
    gateway = Gateway(runtime, nobody, None, nobody, nobody, nobody, WebGuard())
    config = configured(gateway, KEEPALIVE_SECONDS)
    state = ServerState()
    state.default_headers = [(b"server", b"localmme"), (b"date", b"Sat, 28 Nov 2026 06:00:00 GMT")]
    return Connection(config, state)


async def proxied() -> Caller:
    upstream = Upstream()
    answering(upstream)
    Caller.idle.append(upstream)
    return Caller()


async def measure(calls: int, counted: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ways = {"bare proxy": Calling(await proxied()), "localmme": Calling(await emulated(Path(directory)))}
        for way in ways.values():
            await way.call(1)
            await way.call(1000)
        if counted:
            for name, way in ways.items():
                await count(name, way)
            return
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                times[name].append(await way.call(calls))
        for name, found in times.items():
            print(f"{name}: {min(found):.1f} us of processor time a call, at most {max(found):.1f}")
        print(f"ratio {min(times['localmme']) / min(times['bare proxy']):.2f}")


async def count(name: str, way: Calling) -> None:
    """Print the functions that one call goes through."""
    seen: Counter[tuple[str, str]] = Counter()
    c_calls = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal c_calls
        if event == "call":
            seen[frame.f_code.co_filename, frame.f_code.co_qualname] += 1
        c_calls += event == "c_call"

    sys.setprofile(watch)
    try:
        await way.call(10)
    finally:
        sys.setprofile(None)
    byte_codes = await count_byte_codes(way)
    inner = {
        key: times / 10 for key, times in seen.items() if not key[0].endswith("invocation_path.py") and times >= 10
    }
    for (file, function), times in inner.items():
        print(
            f"  {times:4.1f}  {file.partition('site-packages/')[2] or file.removeprefix(f'{REPOSITORY}/')}  {function}"
        )
    own = {file for file, _ in inner if "/emulator/" in file}
    print(
        f"{name}: {sum(inner.values()):.0f} Python calls in {len({file for file, _ in inner})} modules, "
        f"{len(own)} of them the emulator's; {c_calls / 10:.0f} C calls; {byte_codes:.0f} byte codes"
    )


async def count_byte_codes(way: Calling) -> float:
    """Those of one call, on average over a hundred: metrics are counted so many at a time."""
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return None if frame.f_code.co_filename == __file__ else trace

    sys.settrace(trace)
    try:
        await way.call(100)
    finally:
        sys.settrace(None)
    return executed / 100


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("calls", nargs="?", type=int, default=100)
    parser.add_argument("--calls", action="store_true", dest="counted")
    arguments = parser.parse_args()
    uvloop.install()
    asyncio.run(measure(arguments.calls, arguments.counted))
