"""Records the emulator's story: a thread writes each event and call to a file, and nobody waits for it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from emulator.clock import Clock
from emulator.entries import EventEntry
from emulator.errors import SetupError
from emulator.events import CallEnded
from emulator.observers.call_entries import call_entry
from emulator.observers.recent_entries import RecentEntries
from emulator.observers.recording_file import RecordingFile, reason
from emulator.recordings import FORMAT, EndpointLine, LostLine, RecordedCall, RecordedEndpoint, RecordingLine

FLUSH_SECONDS = 0.5  # [ours] so that what happened is in the file a second later
MEMBER_BYTES = 1024 * 1024  # [ours] of text, at which one member of the file ends and the next begins
# [ours] What waits to be written: some seconds of as many calls as there can be.
WAITING_ENTRIES = 20_000
WAITING_BODY_BYTES = 128 * 1024 * 1024
# [ours] The thread makes that many lines before it lets the event loop, which shares the interpreter with it, go on;
# unless more than a quarter of what may wait is waiting.
LINES_AT_ONCE, PAUSE_SECONDS = 10, 0.0005
STOP_SECONDS = 10.0  # [ours] after which a disk that does not answer is left alone

log = logging.getLogger("localmme")
_encoded = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True)
class RecordingSettings:
    """Where a recording is written, and what of it."""

    file: Path
    size_bytes: int  # of a file, at which another is begun
    bodies: bool = False  # calls with the bodies of their requests


@dataclass(frozen=True)
class WaitingCall:
    """A call that is to be written, with the body that its invocation need not have any more."""

    call: CallEnded
    body: bytes | None


class Recorder:
    """Writes one recording at a time. What cannot be written for too long is given up, counted, and reported."""

    def __init__(
        self,
        entries: RecentEntries,
        clock: Clock,
        localmme_version: str,
        limits: dict[str, float | None],
        endpoints: Callable[[], list[RecordedEndpoint]],
        warn: Callable[[str], None],
    ) -> None:
        """``endpoints`` are those that there are now; it and ``warn`` are called on the event loop."""
        self._entries, self._clock = entries, clock
        self._version, self._limits = localmme_version, limits
        self._endpoints, self._warn = endpoints, warn
        self._recording: _Recording | None = None
        self._changing = asyncio.Lock()  # one start or stop at a time

    @property
    def file(self) -> Path | None:
        """The file that is being written; None = nothing is recorded."""
        return self._recording.settings.file if self._recording else None

    async def start(self, settings: RecordingSettings, since: int | None = None) -> None:
        """Record from now on, or from the kept events after that entry on.

        Raises SetupError when it cannot be written there, or something is being recorded already.
        """
        async with self._changing:
            if self._recording is not None:
                raise SetupError(f"A recording is under way: {self.file}. Stop it first.")
            loop = asyncio.get_running_loop()
            recording = _Recording(
                settings,
                self._first_line(settings),
                self._entries.epoch,
                lambda text: loop.call_soon_threadsafe(self._warn, text),
            )
            try:
                await asyncio.to_thread(recording.begin)
            except BaseException:
                recording.give_up()  # when it is the start that was broken off, its thread begins all the same
                raise
            if since is not None:
                for entry in self._entries.since(since):
                    if entry["type"] == "event":
                        recording.add(entry)
            self._recording = recording
            self._entries.followers.append(self._follow)

    async def stop(self) -> None:
        """Write what is left, and close the file; nothing if nothing is recorded."""
        async with self._changing:
            recording, self._recording = self._recording, None
            if recording is not None:
                self._entries.followers.remove(self._follow)
                await asyncio.to_thread(recording.end)

    def _first_line(self, settings: RecordingSettings) -> RecordingLine:
        return {
            "type": "recording",
            "format": FORMAT,
            "localmme_version": self._version,
            "run": self._entries.run,
            "started": self._clock.now(),
            "part": 0,
            "bodies": settings.bodies,
            "limits": self._limits,
            "endpoints": self._endpoints(),
        }

    def _follow(self, entry: EventEntry | CallEnded) -> None:
        """Each call passes here: it only keeps."""
        recording = self._recording
        assert recording is not None
        if isinstance(entry, CallEnded):
            recording.add_call(entry)
            return
        recording.add(entry)
        if entry["kind"] in ("endpoint_status", "endpoint_deleted"):
            recording.compare(self._endpoints(), entry["time"])


class _Recording:
    """One recording: a queue that the event loop fills, and the thread that empties it into the file."""

    def __init__(
        self, settings: RecordingSettings, first: RecordingLine, epoch: float, warn: Callable[[str], Any]
    ) -> None:
        """``warn`` may be called in any thread."""
        self.settings = settings
        self._first, self._epoch, self._warn = first, epoch, warn
        self._file = RecordingFile(settings.file, settings.size_bytes, self._first_line)
        self._known = {endpoint["endpoint_name"]: endpoint for endpoint in first["endpoints"]}
        self._waiting: deque[EventEntry | EndpointLine | WaitingCall] = deque()
        # Each is changed in one thread only: on the event loop (body bytes in, lost), or in that of the file.
        self._body_bytes_in = self._body_bytes_out = 0
        self._lost = self._lost_written = 0
        self._lines: list[str] = []  # that are to be written, and are no longer in the queue
        self._pauses = False  # since the file could not be written to
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    def begin(self) -> None:
        """Open the file, and begin to write. Raises SetupError."""
        self._file.begin()
        self._thread.start()

    def give_up(self) -> None:
        """Let the thread end by itself, whenever it begins."""
        self._ends.set()

    def end(self) -> None:
        """Write what is left. Waits for the disk, but not for ever."""
        self._ends.set()
        self._thread.join(STOP_SECONDS)

    # On the event loop

    def add(self, line: EventEntry | EndpointLine | WaitingCall) -> None:
        if len(self._waiting) < WAITING_ENTRIES:
            self._waiting.append(line)
        else:
            self._lost += 1

    def add_call(self, call: CallEnded) -> None:
        body = None
        if self.settings.bodies and len(call.invocation.body) == call.request_bytes:
            body = call.invocation.body
            if self._body_bytes_in - self._body_bytes_out + len(body) > WAITING_BODY_BYTES:
                self._lost += 1
                return
            self._body_bytes_in += len(body)
        self.add(WaitingCall(call, body))

    def compare(self, endpoints: list[RecordedEndpoint], time: float) -> None:
        """Add the definitions that are others than before."""
        for endpoint in endpoints:
            if self._known.get(endpoint["endpoint_name"]) != endpoint:
                self.add({"type": "endpoint", "time": time, "endpoint": endpoint})
        self._known = {endpoint["endpoint_name"]: endpoint for endpoint in endpoints}

    # In the thread

    def _run(self) -> None:
        try:
            while not self._ends.wait(FLUSH_SECONDS):
                self._flush()
            self._flush()
            if left := len(self._waiting) + len(self._lines):
                log.warning("%s lacks the last %d entries", self._file.path, left)
        except Exception:
            log.exception("the recording failed inside the emulator")
        finally:
            self._file.close()

    def _flush(self) -> None:
        """Write what is waiting by now, until it cannot be written."""
        wanted = len(self._waiting)
        while self._lines or wanted > 0:
            if not self._lines:
                self._lines = self._next_lines(wanted)
                wanted -= len(self._lines)
            if not self._write():
                return
        if lost := self._lost - self._lost_written:
            self._lost_written += lost
            line: LostLine = {"type": "lost", "time": time.time(), "entries": lost}
            self._lines = [_encoded(line)]
            self._write()

    def _write(self) -> bool:
        """Whether the lines could be written; they are kept for the next time otherwise."""
        try:
            self._file.append("\n".join([*self._lines, ""]))
        except OSError as error:
            if not self._pauses:
                self._warn(f"The recording pauses: {self._file.path} cannot be written ({reason(error)})")
            self._pauses = True
            return False
        self._lines = []
        if self._pauses:
            self._pauses = False
            self._warn(f"The recording continues in {self._file.path}; {self._lost} entries were left out so far")
        return True

    def _next_lines(self, most: int) -> list[str]:
        """At most that many lines, and at most those of one member, taken out of the queue."""
        lines: list[str] = []
        size = 0
        while len(lines) < most and size < MEMBER_BYTES:
            lines.append(_encoded(self._line(self._waiting.popleft())))
            size += len(lines[-1])
            is_early = len(self._waiting) < WAITING_ENTRIES / 4 and not self._ends.is_set()
            if is_early and len(lines) % LINES_AT_ONCE == 0:
                time.sleep(PAUSE_SECONDS)
        return lines

    def _line(self, waiting: EventEntry | EndpointLine | WaitingCall) -> EventEntry | EndpointLine | RecordedCall:
        if not isinstance(waiting, WaitingCall):
            if waiting["type"] == "endpoint":
                self._remember(waiting["endpoint"]["endpoint_name"], waiting["endpoint"])
            elif waiting["kind"] == "endpoint_deleted":
                self._remember(waiting["endpoint_name"])
            return waiting
        entry = call_entry(waiting.call, self._epoch)
        if waiting.body is None:
            return cast(RecordedCall, entry)
        self._body_bytes_out += len(waiting.body)
        return {**entry, "body": base64.b64encode(waiting.body).decode()}

    def _remember(self, name: str, *endpoint: RecordedEndpoint) -> None:
        others = [each for each in self._first["endpoints"] if each["endpoint_name"] != name]
        self._first = {**self._first, "endpoints": [*others, *endpoint]}

    def _first_line(self) -> str:
        self._first = {**self._first, "part": self._first["part"] + 1}
        return _encoded(self._first) + "\n"
