"""The latest lines that containers wrote, with their times, by CloudWatch Logs' groups and streams."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from emulator.events import ONLY_CONTAINER_NAME, Events, LogLine, Origin

KEPT_LINES = 10_000  # [ours] of a stream. The files in the state directory have all of them
KEPT_CHARACTERS = 4 * 1024 * 1024  # [ours] of a stream
KEPT_STREAMS = 100  # [ours] until they are taken


@dataclass(slots=True)
class LogStream:
    """A log stream of CloudWatch Logs: its latest lines, with their times in milliseconds since 1970."""

    region: str
    group_name: str
    name: str
    lines: deque[tuple[int, str]] = field(default_factory=deque)
    characters: int = 0

    def add(self, milliseconds: int, line: str) -> None:
        self.lines.append((milliseconds, line))
        self.characters += len(line)
        while len(self.lines) > KEPT_LINES or self.characters > KEPT_CHARACTERS:
            self.characters -= len(self.lines.popleft()[1])


class RecentLogLines:
    """Keeps the lines of all containers until they are taken. Of too many streams, the oldest is dropped."""

    def __init__(self) -> None:
        self._streams: dict[Origin, LogStream] = {}

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._add, LogLine)

    def _add(self, event: LogLine, origin: Origin) -> None:
        stream = self._streams.get(origin)
        if stream is None:
            if len(self._streams) >= KEPT_STREAMS:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[origin] = LogStream(origin.region, group_name(origin), stream_name(origin))
        stream.add(time.time_ns() // 1_000_000, event.line)

    def take(self) -> Iterator[LogStream]:
        """The lines since the last call, by group and stream."""
        streams, self._streams = self._streams, {}
        return iter(streams.values())


def group_name(origin: Origin) -> str:
    """The log group of an endpoint, or of all jobs of a kind. [dg]"""
    if origin.job_name:
        return f"/aws/sagemaker/{origin.job_kind}"
    return f"/aws/sagemaker/Endpoints/{origin.endpoint_name}"


def stream_name(origin: Origin) -> str:
    """The log stream of a container: by variant and instance, and by name if it is not alone there. [dg]"""
    instance = f"{origin.job_name or origin.variant_name}/{origin.instance_id}"
    return instance if origin.container in ("", ONLY_CONTAINER_NAME) else f"{instance}/{origin.container}"
