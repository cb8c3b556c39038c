"""Writes what data capture records of invocations to S3: files of JSON lines, by endpoint, variant and hour. [dg]"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import json
import logging
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from emulator.aws.errors import AwsError
from emulator.data_capture import DataCapture
from emulator.events import EndpointDeleted, Events, InvocationCaptured, Origin
from emulator.timeouts import in_time

# [ours] Bytes of data that may wait to be written: at the first number they are written at once, above the second one
# invocations are left out. AWS's instances leave out invocations, too, before their disks are full. [dg]
HURRY_BYTES, MOST_BYTES = 16 << 20, 128 << 20
PIECE_BYTES = 3 << 16  # [ours] of data that become JSON at a time; three bytes are four letters of base64
NO_CONTENT_TYPE = "application/octet-stream"  # [ours] is recorded as observed where there was none

# (bucket, key, pieces): makes them an object of S3; the pieces come from a thread. Raises AwsError.
Put = Callable[[str, str, Iterable[bytes]], Awaitable[None]]
Captured = tuple[Origin, InvocationCaptured]

log = logging.getLogger("localmme")


class CapturedInvocations:
    """Writes captured invocations some seconds after they come, all that came meanwhile together.

    The invocations wait for none of that. If they cannot be written, they are lost, and the log says why.
    """

    def __init__(self, put: Put, seconds: float) -> None:
        self._put, self._seconds = put, seconds
        self._waiting: deque[Captured] = deque()
        self._bytes = 0  # of data that is waiting or being written
        self._left_out = 0
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._is_flushing = False
        self._problems: dict[str, str] = {}  # by endpoint: why the last write failed

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._add, InvocationCaptured)
        events.subscribe(self._on_deletion, EndpointDeleted)

    def _add(self, event: InvocationCaptured, origin: Origin) -> None:
        self._bytes += _size(event)
        if self._bytes > MOST_BYTES:
            self._bytes -= _size(event)
            self._left_out += 1
            return
        if self._bytes > HURRY_BYTES:
            self._hurry.set()
        self._waiting.append((origin, event))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def _on_deletion(self, _: EndpointDeleted, __: Origin) -> None:
        self._hurry.set()

    async def flush(self) -> None:
        """Wait until all invocations so far are written."""
        self._is_flushing = True
        self._hurry.set()
        if self._writing is not None:
            await self._writing
        self._is_flushing = False

    async def _write(self) -> None:
        while self._waiting:
            with contextlib.suppress(asyncio.TimeoutError):
                await in_time(self._hurry.wait(), self._seconds)
            if not self._is_flushing:
                self._hurry.clear()
            files = _files(self._waiting)
            for bucket, folder in list(files):
                await self._write_file(bucket, folder, files.pop((bucket, folder)))
            if self._left_out:
                log.warning("%d invocations were not captured: too many were waiting to be written.", self._left_out)
                self._left_out = 0
        self._writing = None

    async def _write_file(self, bucket: str, folder: str, captured: deque[Captured]) -> None:
        """``captured`` is emptied, so that each invocation is freed as soon as it is written."""
        (origin, first), size, problem = captured[0], sum(_size(event) for _, event in captured), ""
        endpoint, prefix, key = origin.endpoint_name, first.capture.prefix, f"{folder}/{_file_name(first.time)}"
        del first
        try:
            await self._put(bucket, key, _lines(captured))
        except AwsError as error:
            problem = str(error)
        except Exception:
            log.exception("captured invocations could not be written inside the emulator")
        if problem and problem != self._problems.get(endpoint):
            log.warning(
                "Endpoint %s: captured invocations are lost, as they cannot be written to s3://%s/%s: %s",
                endpoint, bucket, prefix, problem,
            )  # fmt: skip
        self._problems[endpoint] = problem
        self._bytes -= size


def _files(waiting: deque[Captured]) -> dict[tuple[str, str], deque[Captured]]:
    """Take all that is waiting, by bucket and folder."""
    files: defaultdict[tuple[str, str], deque[Captured]] = defaultdict(deque)
    while waiting:
        captured = waiting.popleft()
        files[captured[1].capture.bucket, _folder(*captured)].append(captured)
    return files


def _size(event: InvocationCaptured) -> int:
    return len(event.input) + len(event.output)


def _folder(origin: Origin, event: InvocationCaptured) -> str:
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime(event.time))
    names = (event.capture.prefix, origin.endpoint_name, origin.variant_name, hour)
    return "/".join(name for name in names if name)


def _file_name(first: float) -> str:
    """Minute, second and millisecond of the first invocation in it, and a UUID. [reports]"""
    clock = time.strftime("%M-%S", time.gmtime(first))
    return f"{clock}-{int(first * 1000) % 1000:03}-{uuid.uuid4()}.jsonl"


def _lines(captured: deque[Captured]) -> Iterator[bytes]:
    """Take them all, as pieces of a file that are worth a write each."""
    waiting = bytearray()
    while captured:
        for piece in line(captured.popleft()[1], str(uuid.uuid4())):
            waiting += piece
            if len(waiting) >= PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
    yield bytes(waiting)


def line(event: InvocationCaptured, event_id: str) -> Iterator[bytes]:
    """One line of a file, in pieces: a thread that made JSON of many megabytes at once would hold up all requests.

    [dg] Custom attributes are a list of one text. [reports]
    """
    metadata: dict[str, Any] = {"eventId": event_id}
    if event.custom_attributes is not None:
        metadata["customAttributes"] = [event.custom_attributes.decode("latin-1")]
    if event.inference_id is not None:
        metadata["inferenceId"] = event.inference_id.decode("latin-1")
    metadata["inferenceTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time))
    yield b'{"captureData":{'
    if event.capture.input:
        yield b'"endpointInput":'
        yield from _part(event.capture, "INPUT", event.input, event.input_content_type)
    if event.capture.output:
        yield b',"endpointOutput":' if event.capture.input else b'"endpointOutput":'
        yield from _part(event.capture, "OUTPUT", event.output, event.output_content_type)
    yield b'},"eventMetadata":%b,"eventVersion":"0"}\n' % _json(metadata)


def _part(capture: DataCapture, mode: str, body: bytes, header: bytes | None) -> Iterator[bytes]:
    content_type = NO_CONTENT_TYPE if header is None else header.decode("latin-1")
    encoding = _encoding(capture, body, content_type)
    yield b'{"observedContentType":%b,"mode":"%b","data":"' % (_json(content_type), mode.encode())
    if encoding == "BASE64":
        yield from map(base64.b64encode, _pieces(body))
    else:
        yield from (_json(text)[1:-1] for text in _texts(body))
    yield b'","encoding":"%b"}' % encoding.encode()


def _encoding(capture: DataCapture, body: bytes, content_type: str) -> str:
    """The name of the encoding of data: base64 too where it is not the text that its type promises."""
    plain_type = content_type.partition(";")[0].strip().lower()
    for encoding, types in (("CSV", capture.csv_content_types), ("JSON", capture.json_content_types)):
        if plain_type in types:
            with contextlib.suppress(UnicodeDecodeError):
                deque(_texts(body), maxlen=0)
                return encoding
    return "BASE64"


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _texts(body: bytes) -> Iterator[str]:
    """UTF-8 as text, in pieces. Raises UnicodeDecodeError."""
    return codecs.iterdecode(_pieces(body), "utf-8")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
