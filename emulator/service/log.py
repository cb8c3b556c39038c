"""Tells a person what happens: events as lines on standard error, and the one line of InService."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from typing import Any

from emulator.events import (
    ArchiveChanged,
    ContainerStarted,
    ContainerStopped,
    EndpointStatus,
    Event,
    LoadFailed,
    LoadStarted,
    LogLine,
    ModelDeleted,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
)
from emulator.hosting.sizes import format_size

DIM, YELLOW, RED, RESET = "\x1b[2m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


PATIENCE_SECONDS = 1.0  # what is done sooner needs no progress shown


class Log:
    """A listener of the event stream that writes one line for each event worth one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._started = time.perf_counter()
        self._color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._progress = Progress()

    def __call__(self, event: Event) -> None:
        if isinstance(event, LogLine):
            self._write("  | " + event.line, DIM)
        elif isinstance(event, ModelDownloaded):
            size = format_size(event.size_bytes)
            self._write(f"downloaded {event.target_model} ({size}, {event.seconds * 1000:.0f} ms)")
        elif isinstance(event, LoadStarted):
            self._progress.begin(f"Loading {event.target_model}")
        elif isinstance(event, ModelLoaded):
            self._progress.end(f"Loading {event.target_model}")
            self._write(f"loaded     {event.target_model} ({event.seconds * 1000:.0f} ms)")
        elif isinstance(event, ModelUnloaded):
            self._write(f"unloaded   {event.target_model} ({event.reason})")
        elif isinstance(event, ModelDeleted):
            self._write(f"deleted    {event.target_model} from the storage volume ({event.reason})")
        elif isinstance(event, LoadFailed):
            self._progress.end(f"Loading {event.target_model}")
            self._write(f"failed     {event.target_model}: {event.reason}", RED)
        elif isinstance(event, ArchiveChanged):
            advice = (
                "it is loaded anew"
                if event.reloaded
                else "as on SageMaker, the version first loaded is served on; use a new name, or serve --reload"
            )
            self._write(f"changed    {event.target_model} in S3: {advice}", YELLOW)
        elif isinstance(event, ContainerStarted):
            self._write(f"container  {event.container} is healthy ({event.seconds:.1f} s)")
        elif isinstance(event, ContainerStopped):
            self._progress.end_all()
            self._write(f"container  {event.container} is replaced: {event.reason}", RED)
        elif isinstance(event, EndpointStatus):
            self._endpoint_status(event)

    def _endpoint_status(self, event: EndpointStatus) -> None:
        if event.status == "Creating":
            self._progress.begin(f"Endpoint {event.endpoint_name} is Creating")
            return
        self._progress.end_all()
        if event.status == "InService":
            seconds = time.perf_counter() - self._started
            with contextlib.suppress(OSError, ValueError):
                print(f"Endpoint {event.endpoint_name} is InService at {self._url} ({seconds:.1f} s)", flush=True)

    def _write(self, line: str, color: str = "") -> None:
        with contextlib.suppress(OSError, ValueError):  # no one may read it any more; the serving goes on
            self._progress.make_way()
            sys.stderr.write(f"{color}{line}{RESET}\n" if color and self._color else line + "\n")
            sys.stderr.flush()


class Progress:
    """Shows, in a terminal only, what is being waited for since more than a second."""

    def __init__(self) -> None:
        self._waits: dict[str, asyncio.TimerHandle] = {}
        self._shown: list[str] = []
        self._status: Any = None

    def begin(self, text: str) -> None:
        if sys.stderr.isatty() and text not in self._waits:
            self._waits[text] = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._show, text)

    def end(self, text: str) -> None:
        if text in self._waits:
            self._waits.pop(text).cancel()
            self._shown = [other for other in self._shown if other != text]
            self._update()

    def end_all(self) -> None:
        for text in list(self._waits):
            self.end(text)

    def make_way(self) -> None:
        """For a line of text."""
        if self._status is not None:
            sys.stderr.write("\r\x1b[K")

    def _show(self, text: str) -> None:
        self._shown.append(text)
        self._update()

    def _update(self) -> None:
        if not self._shown:
            if self._status is not None:
                self._status.stop()
                self._status = None
            return
        text = self._shown[0] + (f" and {len(self._shown) - 1} more" if self._shown[1:] else "")
        if self._status is None:
            from rich.console import Console
            from rich.status import Status

            self._status = Status(text, console=Console(stderr=True))
            self._status.start()
        self._status.update(text)
