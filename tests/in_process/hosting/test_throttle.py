"""What a call too many is answered with."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.scripted_models import scripted_model


def test_a_call_too_many_is_answered_as_sagemaker_does(scripted, bucket: Path) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = scripted("--limit", "invocations_per_second=0.001")
    assert emulator.invoke("a")["answer"] == "I am a"
    with pytest.raises(ClientError) as caught:
        emulator.invoke("a")
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/endpoints/local/invocations", b"{}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-errortype"), answer.read()) == (
        400,
        "ThrottlingException",
        b'{"message": null}',
    )
    connection.close()
