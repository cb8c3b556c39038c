"""Recordings of ``serve --record``: the lines that they have besides entries, and the names of their files.

A recording is gzip-compressed JSON lines: a RecordingLine, then entries (entries.py) of events and calls, in order,
between them an EndpointLine whenever an endpoint has another definition. docs/events.md describes it. Sizes are in
bytes, times in seconds since 1970.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypedDict

from emulator.entries import CallEntry, EventEntry

FORMAT = 1  # grows when a reader of the one before would misread it; new members do not make a new format
SUFFIX = ".jsonl.gz"
SIZE_BYTES = 256 * 1024 * 1024  # [ours] of a file, at which another is begun, if nobody says otherwise


class RecordedContainer(TypedDict):
    name: str
    multi_model: bool  # it hosts many models


class RecordedVariant(TypedDict):
    """A variant and what each of its instances has."""

    variant_name: str
    weight: float
    instance_type: str  # empty = none was named
    instance_count: int
    memory_bytes: int
    storage_bytes: int
    vcpus: int
    gpus: int  # -1 = all of the machine
    max_loaded_models: int | None  # None = as many as there is memory for
    caching: bool  # False: each model is unloaded after its invocation (ModelCacheSetting)
    containers: list[RecordedContainer]


class RecordedEndpoint(TypedDict):
    endpoint_name: str
    region: str
    variants: list[RecordedVariant]


class RecordingLine(TypedDict):
    """The first line of each file of a recording."""

    type: Literal["recording"]
    format: int
    localmme_version: str
    run: str  # of the emulator: its entries are numbered from 1
    started: float  # the recording, not this file of it
    part: int  # of the recording: from 1
    bodies: bool  # whether calls have their bodies
    limits: dict[str, float | None]  # of the emulated platform, as --limit has them; None = there is none
    endpoints: list[RecordedEndpoint]  # that there were when this file was begun


class EndpointLine(TypedDict):
    """An endpoint was created or updated: what it is from now on."""

    type: Literal["endpoint"]
    time: float
    endpoint: RecordedEndpoint


class LostLine(TypedDict):
    """Entries are missing before this line: they could not be written for so long that they had to be given up."""

    type: Literal["lost"]
    time: float
    entries: int


class RecordedCall(CallEntry, total=False):
    """A call, as in entries.py, and more."""

    body: str  # of the request, in base64: with --record-bodies, if it was not over the limit


Line = RecordingLine | EndpointLine | LostLine | EventEntry | RecordedCall


def part_file(file: Path, number: int) -> Path:
    """Where a file of a recording is kept when another is begun: traffic.1.jsonl.gz for traffic.jsonl.gz."""
    stem, suffix = _stem_and_suffix(file)
    return file.with_name(f"{stem}.{number}{suffix}")


def part_files(file: Path) -> list[Path]:
    """The files that were kept so, the oldest first; without ``file`` itself, which is the newest. Raises OSError."""
    return [part_file(file, number) for number in _part_numbers(file)]


def next_part_file(file: Path) -> Path:
    """The name for the next one. Raises OSError."""
    return part_file(file, max(_part_numbers(file), default=0) + 1)


def _part_numbers(file: Path) -> list[int]:
    stem, suffix = _stem_and_suffix(file)
    name = re.compile(rf"{re.escape(stem)}\.([1-9][0-9]*){re.escape(suffix)}")
    return sorted(int(match[1]) for path in file.parent.iterdir() if (match := name.fullmatch(path.name)))


def _stem_and_suffix(file: Path) -> tuple[str, str]:
    if file.name.endswith(SUFFIX):
        return file.name.removesuffix(SUFFIX), SUFFIX
    return file.stem, file.suffix
