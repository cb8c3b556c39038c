"""What data capture writes: its lines, its files, and when they are written."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import weakref
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.data_capture import DataCapture
from emulator.events import EndpointDeleted, Events, InvocationCaptured
from emulator.observers import captured_invocations
from emulator.observers.captured_invocations import PIECE_BYTES, CapturedInvocations, line
from tests.support.virtual_time import VirtualTimeLoop

MORNING = 1_600_000_000.25  # 2020-09-13 12:26:40.250 UTC
CAPTURE = DataCapture(
    "bucket",
    "a/b",
    100,
    csv_content_types=frozenset({"text/csv"}),
    json_content_types=frozenset({"application/json", "application/jsonlines"}),
)


def captured(**fields: Any) -> InvocationCaptured:
    """An event, with these fields in place of its own."""
    return InvocationCaptured(
        **{
            "capture": CAPTURE,
            "time": MORNING,
            "input": b"1,2\n",
            "input_content_type": b"text/csv",
            "output": b'{"y": 3}',
            "output_content_type": b"application/json",
            "custom_attributes": None,
            "inference_id": None,
            **fields,
        }
    )


def record(event: InvocationCaptured, event_id: str = "e") -> Any:
    """What a line says."""
    return json.loads(b"".join(line(event, event_id)))


def test_a_line_has_what_model_monitor_reads() -> None:
    assert record(captured(), "8f45e35c") == {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2\n", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": '{"y": 3}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "8f45e35c", "inferenceTime": "2020-09-13T12:26:40Z"},
        "eventVersion": "0",
    }


def test_the_caller_s_metadata_goes_along() -> None:
    metadata = record(captured(custom_attributes=b"a=1", inference_id=b"mine"))["eventMetadata"]
    assert metadata["customAttributes"] == ["a=1"]
    assert metadata["inferenceId"] == "mine"


@pytest.mark.parametrize(
    ("content_type", "body", "data", "encoding"),
    [
        (b"text/csv", "1,\u00e9".encode(), "1,\u00e9", "CSV"),
        (b"text/csv; charset=utf-8", b"1", "1", "CSV"),
        (b"Text/CSV ;x=y", b"1", "1", "CSV"),
        (b"application/jsonlines", b"{}\n{}", "{}\n{}", "JSON"),
        (b"text/plain", b"1", "MQ==", "BASE64"),
        (b"text/csv2", b"1", "MQ==", "BASE64"),
        (b"text/csv", b"\xff", "/w==", "BASE64"),
        (b"text/csv", b"", "", "CSV"),
        (b"", b"1", "MQ==", "BASE64"),
        (None, b"1", "MQ==", "BASE64"),
    ],
)
def test_data_is_encoded_by_its_content_type(content_type: bytes | None, body: bytes, data: str, encoding: str) -> None:
    part = record(captured(input=body, input_content_type=content_type))["captureData"]["endpointInput"]
    assert (part["data"], part["encoding"]) == (data, encoding)
    assert part["observedContentType"] == (
        "application/octet-stream" if content_type is None else content_type.decode()
    )


@pytest.mark.parametrize(
    ("takes", "parts"),
    [((True, True), ["endpointInput", "endpointOutput"]), ((True, False), ["endpointInput"]),
     ((False, True), ["endpointOutput"])],
)  # fmt: skip
def test_input_and_output_are_captured_as_the_options_say(takes: tuple[bool, bool], parts: list[str]) -> None:
    capture = DataCapture("bucket", "", 100, *takes)
    assert list(record(captured(capture=capture))["captureData"]) == parts


@pytest.mark.parametrize(
    ("content_type", "body", "encoding"),
    [
        (b"application/x-npy", bytes(range(256)) * 2048 + b"1", "BASE64"),
        (b"text/csv", '1,\u00e9\u4e2d\U0001f600"\\\n'.encode() * 32768, "CSV"),  # pieces end within characters
        (b"application/json", b"x" * 500_000 + b"\xff", "BASE64"),
        (b"application/json", b"x" * 500_000 + "\u00e9".encode()[:1], "BASE64"),
    ],
)
def test_a_large_body_becomes_small_pieces(content_type: bytes, body: bytes, encoding: str) -> None:
    event = captured(input=body, input_content_type=content_type)
    part = record(event)["captureData"]["endpointInput"]
    assert part["encoding"] == encoding
    assert (base64.b64decode(part["data"]) if encoding == "BASE64" else part["data"].encode()) == body
    assert max(map(len, line(event, "e"))) < 2 * PIECE_BYTES


class Scene:
    """An S3 that notes what is put there, and an observer of two endpoints, at virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.objects: list[tuple[float, str, str, list[Any]]] = []  # when, bucket, key, lines
        self.failures: list[Exception] = []  # of the next puts
        self.published: list[weakref.ref[DataCapture]] = []
        self.alive: list[int] = []  # of these, how many there are after each piece that is put
        self.events = Events()
        self.writer = CapturedInvocations(self._put, seconds=5)
        self.writer.listen_to(self.events)
        self.endpoint = self.events.within(endpoint_name="E", region="us-east-1")
        self.variant = self.endpoint.within(variant_name="V")

    async def _put(self, bucket: str, key: str, pieces: Iterable[bytes]) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        content = b""
        for piece in pieces:
            content += piece
            self.alive.append(sum(capture() is not None for capture in self.published))
        lines = [json.loads(line) for line in content.splitlines()]
        self.objects.append((self.loop.time(), bucket, key, lines))

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.run(main())

    def inputs(self) -> list[list[str]]:
        """Of each object, the data of its lines."""
        return [[line["captureData"]["endpointInput"]["data"] for line in lines] for _, _, _, lines in self.objects]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_comes_within_some_seconds_is_one_file(scene: Scene) -> None:
    async def invoke() -> None:
        for second in range(7):
            scene.variant.publish(captured(input=b"%d" % second))
            await asyncio.sleep(1.1)
        await asyncio.sleep(10)

    scene.run(invoke)
    assert scene.inputs() == [["0", "1", "2", "3", "4"], ["5", "6"]]
    assert [when for when, *_ in scene.objects] == [5, 10.5]


def test_a_file_lies_in_the_folder_of_its_endpoint_variant_and_hour(scene: Scene) -> None:
    at_the_top = DataCapture("other", "", 100)

    async def invoke() -> None:
        scene.variant.publish(captured())
        scene.variant.publish(captured(time=MORNING + 1))
        scene.variant.publish(captured(time=MORNING + 3600))
        scene.endpoint.within(variant_name="W").publish(captured())
        scene.variant.publish(captured(capture=at_the_top))
        await scene.writer.flush()

    scene.run(invoke)
    uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl"
    expected = [
        ("bucket", "a/b/E/V/2020/09/13/12/26-40-250-", 2),
        ("bucket", "a/b/E/V/2020/09/13/13/26-40-250-", 1),
        ("bucket", "a/b/E/W/2020/09/13/12/26-40-250-", 1),
        ("other", "E/V/2020/09/13/12/26-40-250-", 1),
    ]
    for (_, bucket, key, lines), (its_bucket, begin, count) in zip(scene.objects, expected, strict=True):
        assert (bucket, len(lines)) == (its_bucket, count)
        assert re.fullmatch(re.escape(begin) + uuid, key)
    ids = [line["eventMetadata"]["eventId"] for *_, lines in scene.objects for line in lines]
    assert len(set(ids)) == 5


def test_at_the_end_nothing_waits(scene: Scene) -> None:
    async def invoke() -> None:
        scene.variant.publish(captured(input=b"1"))
        await scene.writer.flush()
        scene.variant.publish(captured(input=b"2"))
        await scene.writer.flush()
        await scene.writer.flush()

    scene.run(invoke)
    assert scene.inputs() == [["1"], ["2"]]
    assert scene.loop.time() == 0


def test_the_deletion_of_an_endpoint_and_much_data_do_not_wait(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured_invocations, "HURRY_BYTES", 30)

    async def invoke() -> None:
        scene.variant.publish(captured(input=b"1"))
        scene.endpoint.publish(EndpointDeleted())
        await asyncio.sleep(1)
        scene.variant.publish(captured(input=b"x" * 40))
        await asyncio.sleep(1)
        scene.variant.publish(captured(input=b"2"))
        await asyncio.sleep(9)

    scene.run(invoke)
    assert scene.inputs() == [["1"], ["x" * 40], ["2"]]
    assert [when for when, *_ in scene.objects] == [0, 1, 7]


def test_what_waits_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(captured_invocations, "MOST_BYTES", 20)

    async def invoke() -> None:
        for number in range(4):
            scene.variant.publish(captured(input=b"%d" % number))  # 9 bytes, with its output
        await scene.writer.flush()
        scene.variant.publish(captured(input=b"4"))
        await scene.writer.flush()

    scene.run(invoke)
    assert scene.inputs() == [["0", "1"], ["4"]]
    assert [r.getMessage() for r in caplog.records] == [
        "2 invocations were not captured: too many were waiting to be written."
    ]


def test_what_is_written_is_freed(scene: Scene) -> None:
    async def invoke() -> None:
        for variant in (scene.variant, scene.variant, scene.endpoint.within(variant_name="W")):
            capture = replace(CAPTURE)
            scene.published.append(weakref.ref(capture))
            variant.publish(captured(input=b"1" * PIECE_BYTES, capture=capture))
            del capture
        await scene.writer.flush()

    scene.run(invoke)
    assert scene.alive == [3, 2, 1, 1, 0]  # a piece of each, and the rest of each file


def test_a_failure_is_logged_once_and_what_comes_later_is_written(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    missing = AwsError("NoSuchBucket", 404, "The specified bucket does not exist")
    full = AwsError("InternalError", 500, "No space left on device")
    scene.failures = [missing, missing, full, RuntimeError("a bug")]

    async def invoke() -> None:
        for number in range(5):
            scene.variant.publish(captured(input=b"%d" % number))
            await scene.writer.flush()

    scene.run(invoke)
    assert scene.inputs() == [["4"]]
    assert [r.getMessage().partition("cannot be written to ")[2] for r in caplog.records] == [
        "s3://bucket/a/b: The specified bucket does not exist",
        "s3://bucket/a/b: No space left on device",
        "",
    ]
    assert "a bug" in caplog.text
