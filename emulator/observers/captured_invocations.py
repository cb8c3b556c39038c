"""Writes what data capture records of invocations to S3: files of JSON lines, by endpoint, variant and hour. [dg]"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from emulator.aws.errors import AwsError
from emulator.data_capture import DataCapture
from emulator.events import EndpointDeleted, Events, InvocationCaptured, Origin
from emulator.timeouts import in_time

# [ours] Bytes of data that may wait to be written: at the first number they are written at once, above the second one
# invocations are left out. AWS's instances leave out invocations, too, before their disks are full. [dg]
HURRY_BYTES, MOST_BYTES = 16 << 20, 128 << 20
NO_CONTENT_TYPE = "application/octet-stream"  # [ours] is recorded as observed where there was none

# (bucket, key, content): makes it an object of S3. Raises AwsError.
Put = Callable[[str, str, bytes], Awaitable[None]]
Captured = tuple[Origin, InvocationCaptured]

log = logging.getLogger("localmme")


class CapturedInvocations:
    """Writes captured invocations some seconds after they come, all that came meanwhile together.

    The invocations wait for none of that. If they cannot be written, they are lost, and the log says why.
    """

    def __init__(self, put: Put, seconds: float) -> None:
        self._put, self._seconds = put, seconds
        self._waiting: list[Captured] = []
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
            captured, self._waiting = self._waiting, []
            files: defaultdict[tuple[str, str], list[Captured]] = defaultdict(list)
            for origin, event in captured:
                files[event.capture.bucket, _folder(origin, event)].append((origin, event))
            for (bucket, folder), its_own in files.items():
                await self._write_file(bucket, f"{folder}/{_file_name(its_own[0][1].time)}", its_own)
                self._bytes -= sum(_size(event) for _, event in its_own)
            if self._left_out:
                log.warning("%d invocations were not captured: too many were waiting to be written.", self._left_out)
                self._left_out = 0
        self._writing = None

    async def _write_file(self, bucket: str, key: str, captured: Sequence[Captured]) -> None:
        endpoint, problem = captured[0][0].endpoint_name, ""
        try:
            await self._put(bucket, key, await asyncio.to_thread(_lines, captured))
        except AwsError as error:
            problem = str(error)
        except Exception:
            log.exception("captured invocations could not be written inside the emulator")
        if problem and problem != self._problems.get(endpoint):
            log.warning(
                "Endpoint %s: captured invocations are lost, as they cannot be written to s3://%s/%s: %s",
                endpoint, bucket, captured[0][1].capture.prefix, problem,
            )  # fmt: skip
        self._problems[endpoint] = problem


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


def _lines(captured: Sequence[Captured]) -> bytes:
    records = (record(event, str(uuid.uuid4())) for _, event in captured)
    return b"".join(json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for one in records)


def record(event: InvocationCaptured, event_id: str) -> dict[str, Any]:
    """One line of a file, before it becomes JSON. [dg] Custom attributes are a list of one text. [reports]"""
    data: dict[str, Any] = {}
    if event.capture.input:
        data["endpointInput"] = _part(event.capture, "INPUT", event.input, event.input_content_type)
    if event.capture.output:
        data["endpointOutput"] = _part(event.capture, "OUTPUT", event.output, event.output_content_type)
    metadata: dict[str, Any] = {"eventId": event_id}
    if event.custom_attributes is not None:
        metadata["customAttributes"] = [event.custom_attributes.decode("latin-1")]
    if event.inference_id is not None:
        metadata["inferenceId"] = event.inference_id.decode("latin-1")
    metadata["inferenceTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time))
    return {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}


def _part(capture: DataCapture, mode: str, body: bytes, header: bytes | None) -> dict[str, str]:
    content_type = NO_CONTENT_TYPE if header is None else header.decode("latin-1")
    data, encoding = _encoded(capture, body, content_type)
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}


def _encoded(capture: DataCapture, body: bytes, content_type: str) -> tuple[str, str]:
    """The data as text, and the name of its encoding: base64 too where it is not the text that its type promises."""
    plain_type = content_type.partition(";")[0].strip().lower()
    for encoding, types in (("CSV", capture.csv_content_types), ("JSON", capture.json_content_types)):
        if plain_type in types:
            with contextlib.suppress(UnicodeDecodeError):
                return body.decode(), encoding
    return base64.b64encode(body).decode(), "BASE64"
