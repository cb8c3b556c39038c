"""Real S3, of which buckets are read through: whose credentials, at which address, and what if there is no network."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest

from emulator.archives.real_s3 import RealS3ByBoto3
from emulator.storage.errors import NoSuchBucket, NoSuchKey, RealS3Refused, RealS3Unavailable
from tests.support import real_s3_stand_in
from tests.support.models_in_s3 import CREDENTIALS, NOTHING
from tests.support.processes import free_port
from tests.support.real_s3_stand_in import RealS3StandIn

OWN = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[RealS3StandIn]:
    stand_in, stop = real_s3_stand_in.start()
    stand_in.client.create_bucket(Bucket="public-one", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    stand_in.client.put_object(Bucket="public-one", Key="a", Body=b"data")
    yield stand_in
    stop()


@pytest.fixture
def real(stand_in: RealS3StandIn, monkeypatch: pytest.MonkeyPatch) -> RealS3StandIn:
    for name, value in {**NOTHING, **CREDENTIALS, "AWS_ENDPOINT_URL_S3": stand_in.url}.items():
        monkeypatch.setenv(name, value)
    stand_in.begin()
    return stand_in


def test_credentials_are_tried_first_and_then_none(real: RealS3StandIn) -> None:
    real.refuses = lambda _, is_signed: is_signed
    s3 = RealS3ByBoto3(OWN)
    for _ in range(2):
        assert s3.entry("public-one", "a").size == 4
    head = "HEAD /public-one/a"
    assert real.calls == [f"{head} signed", head, head]


def test_without_credentials_nothing_is_signed(real: RealS3StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with RealS3ByBoto3(OWN).open("public-one", "a") as (file, _):
        assert file.read() == b"data"
    assert real.calls == ["GET /public-one/a"]


def test_what_may_not_be_read_is_refused(real: RealS3StandIn) -> None:
    real.refuses = lambda _path, _is_signed: True
    s3 = RealS3ByBoto3(OWN)
    with pytest.raises(RealS3Refused, match="does not let s3://public-one/a be read, neither with AWS credentials"):
        s3.entry("public-one", "a")
    assert s3.region("public-one") == "eu-west-1"  # it exists, even if it may not be listed


def test_what_is_missing(real: RealS3StandIn) -> None:
    s3 = RealS3ByBoto3(OWN)
    with pytest.raises(NoSuchKey):
        s3.entry("public-one", "missing")
    with pytest.raises(NoSuchBucket):
        s3.region("no-such-bucket")
    with pytest.raises(NoSuchBucket):
        s3.listing("no-such-bucket", "", "", "", 10)
    with pytest.raises(NoSuchBucket), s3.open("no-such-bucket", "a"):
        pass


def test_without_a_network_the_next_call_does_not_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name, value in {**NOTHING, **CREDENTIALS, "AWS_ENDPOINT_URL_S3": nowhere}.items():
        monkeypatch.setenv(name, value)
    s3 = RealS3ByBoto3(OWN)
    with pytest.raises(RealS3Unavailable, match=f"S3 at {nowhere} cannot be reached. Check the network"):
        s3.entry("public-one", "a")
    with (
        mock.patch.object(s3, "_attempt", side_effect=AssertionError("it is not called")),
        pytest.raises(RealS3Unavailable, match="cannot be reached"),
    ):
        s3.region("public-one")


def test_it_is_never_the_emulator_itself(real: RealS3StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:8080/")
    with pytest.raises(RealS3Unavailable, match="which is the emulator itself"):
        RealS3ByBoto3(OWN).entry("public-one", "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", OWN)  # as localmme env sets it
    client = RealS3ByBoto3(OWN)._clients[0]
    assert client.meta.endpoint_url == "https://s3.amazonaws.com"
