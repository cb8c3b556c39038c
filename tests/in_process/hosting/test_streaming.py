"""InvokeEndpointWithResponseStream as its callers see it: chunk by chunk, and what happens when it breaks."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.response_streams import chunks, stream
from tests.support.scripted_models import Journal, SharedInProcessEmulator, scripted_model, shared
from tests.support.waiting import eventually

MIB = 2**20


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedInProcessEmulator]:
    with shared(
        SharedInProcessEmulator, tmp_path_factory.mktemp("streaming"), "--limit", "poll_seconds=600"
    ) as emulator:
        yield emulator


def in_flight(emulator: InProcessEmulator) -> int:
    return sum(model["in_flight"] for model in emulator.instance()["memory"]["models"])


def connections(emulator: InProcessEmulator) -> int:
    """To the container, from the emulator."""
    port = int(emulator.container()["address"].rsplit(":", 1)[1])
    mine = psutil.Process().net_connections("tcp")
    return sum(c.raddr != () and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED for c in mine)


def test_chunks_arrive_while_the_container_is_still_sending(emulator: SharedInProcessEmulator, gate: Path) -> None:
    script = {"chunks": ["one", "two", "three"], "chunk_until": str(gate), "content_type": "text/plain"}
    answer = stream(emulator, emulator.model_of("slow", invoke=script))
    assert answer["ContentType"] == "text/plain" and answer["InvokedProductionVariant"] == "AllTraffic"
    coming = chunks(answer)
    assert next(coming) == b"one"
    gate.touch()
    assert b"".join(coming) == b"twothree"


def test_the_container_gets_the_callers_headers(emulator: SharedInProcessEmulator) -> None:
    request = {"ContentType": "text/csv", "Accept": "text/plain", "CustomAttributes": "trace=1"}
    b"".join(chunks(stream(emulator, emulator.model_of("headers"), b"1,2", **request)))
    seen = {name.lower(): value for name, value in emulator.journal.entries("invoke")[-1]["headers"].items()}
    assert seen["content-type"] == "text/csv" and seen["accept"] == "text/plain"
    assert seen["x-amzn-sagemaker-custom-attributes"] == "trace=1"


def test_an_answer_that_is_not_chunked_is_streamed_too(emulator: SharedInProcessEmulator) -> None:
    answer = stream(emulator, emulator.model_of("whole", invoke={"body": "all at once", "content_type": "text/plain"}))
    assert answer["ContentType"] == "text/plain"
    assert list(chunks(answer)) == [b"all at once"]


@pytest.mark.parametrize("cue", [{"size": 0}, {"chunks": []}], ids=["length 0", "no chunks"])
def test_an_empty_answer_is_an_empty_stream(emulator: SharedInProcessEmulator, cue: dict[str, Any]) -> None:
    assert list(chunks(stream(emulator, emulator.model_of("empty", invoke=cue)))) == []
    assert in_flight(emulator) == 0


def test_binary_bytes_pass_through(emulator: SharedInProcessEmulator) -> None:
    echo, body = emulator.model_of("echo", invoke={"echo": True}), bytes(range(256)) * 4000
    assert b"".join(chunks(stream(emulator, echo, body, ContentType="application/octet-stream"))) == body


def test_a_stream_may_be_larger_than_an_answer(emulator: SharedInProcessEmulator) -> None:
    model = emulator.model_of("large", invoke={"size": 30 * MIB})
    assert sum(map(len, chunks(stream(emulator, model)))) == 30 * MIB


def test_a_container_that_breaks_off_is_a_model_stream_error_in_the_stream(emulator: SharedInProcessEmulator) -> None:
    model = emulator.model_of("broken", invoke={"chunks": ["one", "two", "three"], "break_after": 2})
    received = []
    with pytest.raises(EventStreamError) as caught:
        for chunk in chunks(stream(emulator, model)):
            received.append(chunk)
    assert received == [b"one", b"two"]
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert "broke off" in str(caught.value)
    assert in_flight(emulator) == 0


def test_a_stream_that_takes_too_long_is_a_model_stream_error_in_the_stream(scripted, bucket: Path, gate: Path) -> None:
    scripted_model(bucket / "a", invoke={"chunks": ["one", "two"], "chunk_until": str(gate)})
    emulator = scripted("--limit", "stream_invocation_seconds=2")
    received = []
    with pytest.raises(EventStreamError) as caught:
        for chunk in chunks(stream(emulator, "a")):
            received.append(chunk)
    gate.touch()
    assert received == [b"one"]
    assert caught.value.response["Error"] == {
        "Code": "ModelStreamError",
        "Message": "Your model primary did not complete sending the inference response in the allotted time.",
    }
    assert in_flight(emulator) == 0


def test_an_error_before_the_stream_is_a_model_error(emulator: SharedInProcessEmulator) -> None:
    error = refused(stream, emulator, emulator.model_of("busy", invoke={"status": 503, "body": "too busy"}))
    assert error.from_the_container == ("ModelError", 503)
    assert error.response["OriginalMessage"] == "too busy"
    assert in_flight(emulator) == 0


def test_a_container_that_answers_nothing_is_a_model_error(scripted, bucket: Path) -> None:
    scripted_model(bucket / "a", invoke={"hang": True})
    emulator = scripted("--limit", "stream_invocation_seconds=0.7")
    with pytest.raises(ClientError) as caught:
        stream(emulator, "a")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert "Your invocation timed out" in str(caught.value)


def test_a_model_that_the_container_forgot_is_loaded_again(emulator: SharedInProcessEmulator) -> None:
    model = emulator.model_of("forgotten", invoke={"body": "here I am"})
    list(chunks(stream(emulator, model)))
    entry = emulator.journal.entries("invoke")[-1]
    connection = http.client.HTTPConnection("127.0.0.1", entry["port"])
    connection.request("DELETE", f"/models/{entry['model']}")
    assert connection.getresponse().status == 200
    assert list(chunks(stream(emulator, model))) == [b"here I am"]
    assert [each["model"] for each in emulator.journal.entries("load")].count(entry["model"]) == 2


def test_a_model_is_in_use_until_its_stream_ends(scripted, bucket: Path, journal: Journal, gate: Path) -> None:
    scripted_model(bucket / "a", invoke={"chunks": ["x"] * 4, "chunk_until": str(gate)})
    scripted_model(bucket / "b", "I am b")
    emulator = scripted("--max-loaded-models", "1")
    answer = chunks(stream(emulator, "a"))
    next(answer)
    assert in_flight(emulator) == 1
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(emulator.invoke, "b")
        eventually(lambda: emulator.instance()["memory"]["loading"] == ["b"])
        gate.touch()
        assert waiting.result()["answer"] == "I am b"
    assert b"".join(answer) == b"xxx"
    # The journal has a call when its answer begins.
    assert journal.calls("load", "unload") == ["load", "unload", "load"]


def test_a_caller_that_hangs_up_lets_the_model_and_the_connection_go(emulator: SharedInProcessEmulator) -> None:
    model = emulator.model_of("endless", invoke={"chunks": ["x" * 1000] * 600, "chunk_delay": 0.2})
    answer = stream(emulator, model)
    next(chunks(answer))
    assert in_flight(emulator) == 1
    answer["Body"].close()
    eventually(lambda: in_flight(emulator) == 0)
    eventually(lambda: connections(emulator) <= 1, what="the stream's connection to the container is closed")
