"""What readers of ``/_localmme/events`` are sent: made once for all of them, and only while there are some."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from emulator.clock import Clock
from emulator.console.endpoint_updates import EndpointUpdates
from emulator.entries import Entry
from emulator.events import CallEnded
from emulator.hosting.endpoint import Endpoint
from emulator.observers.call_entries import call_entry
from emulator.observers.model_counts import CountsByEndpoint
from emulator.observers.recent_entries import RecentEntries
from emulator.state import EmulatorState
from emulator.timeouts import in_time

TICK_SECONDS = 0.25  # [ours] between messages with entries
TICKS_OF_MODELS = 2  # [ours] between those with models
# [ours] Calls of a message: of those that failed or waited for their model, and of the others. The rest is counted.
MOST_NOTABLE_CALLS, MOST_CALLS = 400, 50
MOST_AT_ONCE = 500  # [ours] entries of a message to somebody who was away
MOST_AWAY = 2_000  # [ours] events and lines, and as many calls, for somebody who was away longer, or comes first
MOST_UNREAD_BYTES = 4 * 1024 * 1024  # [ours] for a reader that is slow; then it is sent the whole anew
SILENCE_SECONDS = 15.0  # [ours] after which a line is sent that says nothing, to see whether the reader is there

log = logging.getLogger("localmme")


class _Message(NamedTuple):
    """``sequence`` is of the latest entry that its reader has then."""

    sequence: int
    text: bytes


class _Reader:
    """One page. What it has not read yet is bounded: a slow one gets the whole state in place of each change."""

    def __init__(self) -> None:
        self._unread: deque[_Message] = deque()
        self._unread_bytes = 0
        self._arrived = asyncio.Event()
        self.has_lost = False  # something that it has not read

    def put(self, message: _Message) -> None:
        self._unread.append(message)
        self._unread_bytes += len(message.text)
        if self._unread_bytes > MOST_UNREAD_BYTES:
            self._forget()
            self.has_lost = True
        self._arrived.set()

    def begin(self) -> None:
        """It is about to be sent the whole."""
        self._forget()
        self.has_lost = False

    async def take(self, seconds: float) -> _Message | None:
        """The next message; None if there is none for so long, or something was lost."""
        if not self._unread and not self.has_lost:
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await in_time(self._arrived.wait(), seconds)
        if not self._unread:
            return None
        message = self._unread.popleft()
        self._unread_bytes -= len(message.text)
        return message

    def _forget(self) -> None:
        self._unread.clear()
        self._unread_bytes = 0


class LiveUpdates:
    """Sends readers the whole state first, and then what changes. Without readers it does nothing."""

    def __init__(
        self,
        about: Mapping[str, str],
        endpoints: Iterable[Endpoint],
        counts: CountsByEndpoint,
        entries: RecentEntries,
        state: Callable[[], Awaitable[EmulatorState]],
        clock: Clock,
    ) -> None:
        """``about`` is what readers are told of the emulator first; ``state`` makes the page of that name."""
        self._about = about
        self._endpoints = endpoints
        self._counts = counts
        self._entries = entries
        self._state = state
        self._clock = clock
        self._readers: set[_Reader] = set()
        self._work: asyncio.Task[None] | None = None  # while there are readers
        self._told = 0  # the sequence of the latest entry that was sent to all
        self._updates: dict[str, EndpointUpdates] = {}
        self._structure: object = None

    def sequence_after(self, last_event_id: str) -> int | None:
        """The sequence of the entry that a reader had last; None if it was one of another run."""
        run, _, sequence = last_event_id.rpartition(".")
        is_number = sequence.isascii() and sequence.isdecimal() and len(sequence) < 16
        return int(sequence) if run == self._entries.run and is_number else None

    async def follow(self, since: int | None) -> AsyncGenerator[bytes, None]:
        """Messages, without end. ``since``: the last entry that the reader has; None = it has nothing."""
        reader, had = _Reader(), since or 0
        self._join(reader)
        try:
            hello = {"run": self._entries.run, **self._about, "sequence": self._entries.sequence}
            yield self._message("hello", hello, had).text
            while True:
                reader.begin()
                upto = self._told
                yield self._message("state", await self._whole_state(), had).text
                for part in self._missed(had, upto):
                    yield part.text
                    await asyncio.sleep(0)  # there may be many
                had = max(had, upto)
                while not reader.has_lost:
                    message = await reader.take(SILENCE_SECONDS)
                    if message is not None:
                        had = message.sequence
                        yield message.text
                    elif not reader.has_lost:
                        yield b":\n\n"
        finally:
            self._leave(reader)

    def _join(self, reader: _Reader) -> None:
        self._readers.add(reader)
        if self._work is None:
            self._look_for_endpoints()
            self._structure = self._current_structure()
            self._told = self._entries.sequence
            for entry in self._entries.events_and_lines():
                if entry["type"] == "event" and (updates := self._updates.get(entry["endpoint_name"])):
                    updates.note_failure(entry)
            self._work = asyncio.create_task(self._tell())

    def _leave(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers and self._work is not None:
            self._work.cancel()
            self._work = None
            self._updates.clear()
            self._structure = None  # it holds instances

    async def _tell(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            tick += 1
            try:
                self._tell_entries()
                if tick % TICKS_OF_MODELS == 0:
                    await self._tell_models()
            except Exception:
                log.exception("the emulator's page could not be updated")

    def _tell_entries(self) -> None:
        since, self._told = self._told, self._entries.sequence
        if since == self._told:
            return
        others, calls = self._entries.events_and_lines(since), self._entries.kept_calls(since)
        self._note(others, calls)
        self._send_to_all("entries", self._batch(others, calls))

    async def _tell_models(self) -> None:
        self._look_for_endpoints()
        if (structure := self._current_structure()) != self._structure:
            self._structure = structure
            self._send_to_all("state", await self._whole_state())
        for updates in list(self._updates.values()):
            if (update := await updates.next()) is not None:
                self._send_to_all("models", update)

    def _note(self, entries: Iterable[Entry], calls: Iterable[CallEnded]) -> None:
        """What may have changed with them."""
        for entry in entries:
            if entry["type"] == "event" and (updates := self._updates.get(entry["endpoint_name"])):
                updates.happened(entry)
        for call in calls:
            invocation = call.invocation
            if invocation.target_model and (updates := self._updates.get(invocation.endpoint_name)):
                updates.called(invocation.target_model)

    def _batch(self, others: Sequence[Entry], calls: Sequence[CallEnded]) -> dict[str, Any]:
        notable: list[CallEnded] = []
        plain: list[CallEnded] = []
        for call in calls:
            is_notable = call.status >= 400 or call.invocation.measurements.cache_hit is False
            (notable if is_notable else plain).append(call)
        sent = [*notable[-MOST_NOTABLE_CALLS:], *plain[-MOST_CALLS:]]
        entries = [*others, *(call_entry(call, self._entries.epoch) for call in sent)]
        entries.sort(key=lambda entry: entry["sequence"])
        return {"entries": entries, "left_out": len(calls) - len(sent)}

    def _missed(self, since: int, upto: int) -> Iterator[_Message]:
        """What a reader has not been sent, of what is kept."""
        others = self._entries.events_and_lines(since)[-MOST_AWAY:]
        calls = self._entries.kept_calls(since)[-MOST_AWAY:]
        numbered = [(call.sequence, call) for call in calls] + [(entry["sequence"], entry) for entry in others]
        numbered = sorted((each for each in numbered if each[0] <= upto), key=lambda each: each[0])
        for start in range(0, len(numbered), MOST_AT_ONCE):
            part = numbered[start : start + MOST_AT_ONCE]
            entries = [call_entry(e, self._entries.epoch) if isinstance(e, CallEnded) else e for _, e in part]
            yield self._message("entries", {"entries": entries, "left_out": 0}, part[-1][0])

    async def _whole_state(self) -> EmulatorState:
        state = await self._state()
        for endpoint in state["endpoints"]:
            if updates := self._updates.get(endpoint["endpoint_name"]):
                updates.was_shown(endpoint)
        return state

    def _look_for_endpoints(self) -> None:
        there = {endpoint.definition.name: endpoint for endpoint in self._endpoints}
        for name, endpoint in there.items():
            if name not in self._updates or self._updates[name].endpoint is not endpoint:
                self._updates[name] = EndpointUpdates(endpoint, self._counts, self._clock)
        for name in self._updates.keys() - there.keys():
            del self._updates[name]

    def _current_structure(self) -> object:
        return [(name, updates.endpoint, updates.structure) for name, updates in self._updates.items()]

    def _send_to_all(self, event: str, data: Any) -> None:
        message = self._message(event, data, self._told)
        for reader in self._readers:
            reader.put(message)

    def _message(self, event: str, data: Any, sequence: int) -> _Message:
        text = (
            f"event: {event}\nid: {self._entries.run}.{sequence}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
        )
        return _Message(sequence, text.encode())
