"""Messages of the event stream format, as botocore reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from emulator.aws.eventstream import payload_part, stream_exception


def read(*messages: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The headers and the payload of each message; botocore checks the checksums."""
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(messages))
    return ((message.headers, message.payload) for message in buffer)


@pytest.mark.parametrize("chunk", [b"", b"hello", bytes(range(256)) * 1000])
def test_a_part_of_an_answer_is_an_event_with_its_bytes(chunk: bytes) -> None:
    [(headers, payload)] = read(payload_part(chunk))
    assert payload == chunk
    assert headers == {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }


def test_an_exception_has_its_name_in_the_headers_and_its_fields_in_json() -> None:
    [(headers, payload)] = read(
        stream_exception("ModelStreamError", "brök off", ErrorCode="ModelInvocationTimeExceeded")
    )
    assert headers == {
        ":exception-type": "ModelStreamError",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    assert json.loads(payload) == {"Message": "brök off", "ErrorCode": "ModelInvocationTimeExceeded"}


def test_messages_follow_each_other_without_a_gap() -> None:
    messages = [payload_part(b"a"), payload_part(b"b"), stream_exception("InternalStreamFailure", "no")]
    assert [payload for _, payload in read(*messages)][:2] == [b"a", b"b"]
