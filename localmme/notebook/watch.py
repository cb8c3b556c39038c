"""``%localmme watch``: the grid of models and instances in a cell, live; and as it was last, when it ends."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from IPython.display import DisplayHandle

from emulator.errors import SetupError
from localmme import grid, tables
from localmme.event_stream import LOST, EventStream, Message
from localmme.live_state import LiveState
from localmme.moments import shown_time

EVENTS = 8  # the latest
UPDATE_SECONDS = 0.5  # [ours] between two pictures; a notebook keeps up, and calls are not slowed down


def watch(url: str, seconds: float) -> None:
    """Show it for so long, or until the cell is interrupted. Raises SetupError when the user may not see it."""
    stream, state = EventStream(url), LiveState()
    state.url = url
    messages: queue.Queue[Message | SetupError] = queue.Queue()
    reader = threading.Thread(target=_read, args=(stream, messages), daemon=True)
    ends, problem = time.monotonic() + seconds, ""
    handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]
    handle.display(_picture(state, "connecting"))
    reader.start()
    try:
        while (now := time.monotonic()) < ends:
            for message in _arrived(messages, min(now + UPDATE_SECONDS, ends)):
                problem = str(message.data) if message.kind == LOST else ""
                state.apply(message.kind, message.data)
            handle.update(_picture(state, f"not connected, trying again: {problem}" if problem else "live"))
    except KeyboardInterrupt:
        pass
    finally:
        stream.close()
        reader.join()
        handle.update(_picture(state, f"as it was at {shown_time(time.time(), time.time())}"))


def _read(stream: EventStream, messages: queue.Queue[Message | SetupError]) -> None:
    try:
        for message in stream.messages():
            messages.put(message)
    except SetupError as error:
        messages.put(error)


def _arrived(messages: queue.Queue[Message | SetupError], until: float) -> list[Message]:
    """The messages that have come by then."""
    arrived: list[Message] = []
    while (left := until - time.monotonic()) > 0:
        try:
            message = messages.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(message, SetupError):
            raise message
        arrived.append(message)
    return arrived


def _picture(state: LiveState, how: str) -> tables.Shown:
    shown = grid.picture(state, EVENTS, time.time(), order="last use")
    return tables.Shown(f"{shown.line} ({how})", shown.tables)
