"""The latest entries of the emulator's story, in bounded memory: for its pages, its commands and its recordings."""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from emulator.clock import Clock
from emulator.entries import CallEntry, Entry, EventEntry, LogEntry
from emulator.events import CallEnded, Event, Events, LogLine, Origin
from emulator.observers.call_entries import call_entry
from emulator.observers.event_entries import SENTENCES, event_entry

KEPT_EVENTS = 10_000  # [ours]
KEPT_CALLS = 4_000  # [ours]
KEPT_LINES = 10_000  # [ours] of logs
KEPT_LINE_CHARACTERS = 8 * 1024 * 1024  # [ours] of all these lines
KEPT_BODY_BYTES = 8 * 1024 * 1024  # [ours] of the latest calls: tests assert on them, and a page sends one again

E = TypeVar("E", EventEntry, LogEntry)


# What is kept of a call is the event: its entry is made when somebody reads it, as most are never read.
Follower = Callable[[EventEntry | CallEnded], None]


class RecentEntries:
    """Numbers all entries, and keeps the latest of each type."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.run = secrets.token_hex(8)  # tells this run of the emulator, whose numbers these are, from others
        self.epoch = clock.now() - clock.elapsed()  # when the clock's ``elapsed`` was 0, in seconds since 1970
        self.sequence = 0  # of the latest entry
        self._events: deque[EventEntry] = deque(maxlen=KEPT_EVENTS)
        self._calls: deque[CallEnded] = deque(maxlen=KEPT_CALLS)
        self._lines: deque[LogEntry] = deque()
        self._line_characters = 0  # of the kept lines
        self._body_bytes = 0  # of the kept calls, and of some that are not kept any more
        self.followers: list[Follower] = []  # called with each event and call, all of them, at once

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._happened, *SENTENCES)
        events.subscribe(self._called, CallEnded)
        events.subscribe(self._wrote, LogLine)

    def since(self, sequence: int) -> list[Entry]:
        """All kept entries after that one, in order."""
        entries: list[Entry] = [*self.events_and_lines(sequence), *self.calls(sequence)]
        return sorted(entries, key=lambda entry: entry["sequence"])

    def events_and_lines(self, since: int = 0) -> list[EventEntry | LogEntry]:
        """All kept entries but calls after that one, in order."""
        entries: list[EventEntry | LogEntry] = [*_newer(self._events, since), *_newer(self._lines, since)]
        return sorted(entries, key=lambda entry: entry["sequence"])

    def calls(self, since: int = 0) -> list[CallEntry]:
        """The kept calls after that entry, in order."""
        return [call_entry(call, self.epoch) for call in self.kept_calls(since)]

    def kept_calls(self, since: int = 0) -> list[CallEnded]:
        """The same, of which entries are still to be made."""
        kept = list(itertools.takewhile(lambda call: call.sequence > since, reversed(self._calls)))
        kept.reverse()
        return kept

    def body(self, sequence: int) -> bytes | None:
        """The body of the call with that number; None if it is not kept."""
        for call in self._calls:
            if call.sequence == sequence and len(call.invocation.body) == call.request_bytes:
                return call.invocation.body
        return None

    def _happened(self, event: Event, origin: Origin) -> None:
        self.sequence += 1
        entry = event_entry(event, origin, self.sequence, self._clock.now())
        self._events.append(entry)
        for follower in self.followers:
            follower(entry)

    def _called(self, event: CallEnded, _: Origin) -> None:
        """Each call passes here: it only keeps."""
        self.sequence = event.sequence = self.sequence + 1
        self._calls.append(event)
        for follower in self.followers:
            follower(event)
        self._body_bytes += event.request_bytes
        if self._body_bytes > KEPT_BODY_BYTES:
            self._forget_bodies()

    def _forget_bodies(self) -> None:
        """Keep the bodies of the latest calls, half of what may be kept: so this happens seldom."""
        self._body_bytes = 0
        for call in reversed(self._calls):
            size = len(call.invocation.body)
            if self._body_bytes + size > KEPT_BODY_BYTES / 2:
                call.invocation.body = b""
            else:
                self._body_bytes += size

    def _wrote(self, event: LogLine, origin: Origin) -> None:
        self.sequence += 1
        self._lines.append(
            {
                "type": "log",
                "sequence": self.sequence,
                "time": self._clock.now(),
                "endpoint_name": origin.endpoint_name,
                "variant_name": origin.variant_name,
                "instance_id": origin.instance_id,
                "container": origin.container,
                "line": event.line,
            }
        )
        self._line_characters += len(event.line)
        while len(self._lines) > KEPT_LINES or self._line_characters > KEPT_LINE_CHARACTERS:
            self._line_characters -= len(self._lines.popleft()["line"])


def _newer(entries: deque[E], sequence: int) -> list[E]:
    """Those after that one, found from the end: mostly, they are few."""
    newer = list(itertools.takewhile(lambda entry: entry["sequence"] > sequence, reversed(entries)))
    newer.reverse()
    return newer
