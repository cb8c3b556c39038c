"""Writes the output of containers to files: one for each container, appended to, so that earlier runs stay readable."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulator.events import ContainerStarted, ContainerStarting, Events, LogLine, Origin
from emulator.private_files import private_opener
from emulator.timeouts import in_time

# [ours] Between two writes. If each line were a write, a server that logs each call, as Multi Model Server does, would
# cost more by its log than by its calls.
PAUSE_SECONDS = 0.05
NEXT_RUN = "---- the container is started again, %Y-%m-%d %H:%M:%S ----\n"


class ContainerLogFiles:
    """Writes the lines of the event stream to ``ENDPOINT/VARIANT/INSTANCE/CONTAINER.log``, and of a job to
    ``_KIND/JOB/INSTANCE/CONTAINER.log``, or ``INSTANCE.log`` if its container has no name: no endpoint is called so.

    It writes in a thread of its own, so that a slow disk holds up nobody: what comes meanwhile, and in a short pause
    after each write, is written next.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Not yet written. None = a run of the container begins.
        self._lines: defaultdict[Origin, list[str | None]] = defaultdict(list)
        self._thread = ThreadPoolExecutor(1, "container-logs")
        self._writing: asyncio.Task[None] | None = None
        self._is_flushing = asyncio.Event()  # no pauses

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._add, ContainerStarting, ContainerStarted, LogLine)

    def _add(self, event: ContainerStarting | ContainerStarted | LogLine, origin: Origin) -> None:
        lines = self._lines[origin]  # a container that writes nothing gets an empty file
        if isinstance(event, LogLine):
            lines.append(event.line)
        elif isinstance(event, ContainerStarting):
            lines.append(None)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def flush(self) -> None:
        """Wait until all lines so far are written."""
        self._is_flushing.set()
        if self._writing is not None:
            await self._writing
        self._is_flushing.clear()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._lines:
            lines, self._lines = self._lines, defaultdict(list)
            await loop.run_in_executor(self._thread, self._append, lines)
            with contextlib.suppress(asyncio.TimeoutError):
                await in_time(self._is_flushing.wait(), PAUSE_SECONDS)
        self._writing = None

    def _append(self, lines: dict[Origin, list[str | None]]) -> None:
        if not self._directory.is_dir():  # moved away or deleted by its user, who does not want it back
            return
        for origin, its_lines in lines.items():
            path = self._directory.joinpath(*_names(origin))
            with contextlib.suppress(OSError):  # a full disk must not end the emulator
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "a", encoding="utf-8", errors="backslashreplace", opener=private_opener) as file:
                    for line in its_lines:
                        if line is not None:
                            file.write(f"{line}\n")
                        elif file.tell():  # there is something of an earlier run
                            file.write(time.strftime(NEXT_RUN))


def _names(origin: Origin) -> tuple[str, ...]:
    """Those of the file, and of the directories in which it is."""
    of_job = (f"_{origin.job_kind}", origin.job_name)
    first = of_job if origin.job_name else (origin.endpoint_name, origin.variant_name)
    *directories, name = filter(None, (*first, origin.instance_id, origin.container))
    return (*directories, f"{name}.log")
