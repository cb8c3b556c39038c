"""Reports when the kernel has killed a process of a container because its memory was used up.

If it was the main process, the container ends, and that is noticed anyway. If it was another one, such as a worker of
Multi Model Server, the container may answer with anything, and nothing but this tells why.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from emulator.errors import SetupError

AGAIN_SECONDS = 1.0  # after the engine's stream of events broke off


class OomWatch:
    """Follows the engine's events in a thread, from the first container on."""

    def __init__(self, call_blocking: Callable[[Callable[[Any], None]], None], label: str) -> None:
        """See ``Engine.call_blocking``; the containers have this ``label``, ``name=value``."""
        self._call_blocking = call_blocking
        self._label = label
        self._on_oom: dict[str, Callable[[], None]] = {}  # by the container's name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = threading.Event()

    def add(self, container: str, on_oom: Callable[[], None]) -> None:
        """Have ``on_oom`` called on the event loop whenever it happens to this container."""
        self._on_oom[container] = on_oom
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._follow, name="docker-oom", daemon=True).start()

    def drop(self, container: str) -> None:
        """Stop watching this container."""
        self._on_oom.pop(container, None)

    def close(self) -> None:
        """End, at the latest at the engine's next event."""
        self._closed.set()

    def _follow(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(SetupError, RuntimeError):  # no engine, or the loop is closed
                self._call_blocking(self._read)
            self._closed.wait(AGAIN_SECONDS)

    def _read(self, client: Any) -> None:
        filters = {"type": ["container"], "event": ["oom"], "label": [self._label]}
        with contextlib.closing(client.events(decode=True, filters=filters)) as events:
            for event in events:
                if self._closed.is_set():
                    return
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._happened, event["Actor"]["Attributes"]["name"])

    def _happened(self, container: str) -> None:
        if container in self._on_oom:
            self._on_oom[container]()
