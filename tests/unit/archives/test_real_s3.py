"""Real S3, of which buckets are read through: whose credentials, at which address, and what if there is no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from botocore.exceptions import ReadTimeoutError

from emulator.archives.real_s3 import RealS3ByBoto3
from emulator.storage.errors import NoSuchBucket, NoSuchKey, RealS3Refused, RealS3Unavailable
from emulator.storage.listing import ListingPage
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


@pytest.mark.parametrize(
    ("config", "profile"),
    [
        ("", "missing"),
        ("[default", ""),
        ("[default]\ncredential_process = false\n", ""),
        ("[default]\nsso_start_url = https://a.example\nsso_region = a\nsso_account_id = 1\nsso_role_name = a", ""),
    ],
    ids=["a profile that is missing", "an invalid file", "a program that fails", "a login that has expired"],
)  # fmt: skip
def test_with_credentials_that_cannot_be_loaded_what_is_public_is_read(
    config: str,
    profile: str,
    real: RealS3StandIn,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    if profile:
        monkeypatch.setenv("AWS_PROFILE", profile)
    s3 = RealS3ByBoto3(OWN)
    for _ in range(2):
        assert s3.entry("public-one", "a").size == 4
    assert real.calls == ["HEAD /public-one/a"] * 2
    real.refuses = lambda _path, _is_signed: True
    with pytest.raises(RealS3Refused):
        s3.entry("public-one", "a")
    assert caplog.text.count("AWS credentials cannot be loaded") == 1


def test_credentials_that_are_good_again_are_used(real: RealS3StandIn) -> None:
    real.refuses = lambda _, is_signed: is_signed
    s3 = RealS3ByBoto3(OWN)
    s3.entry("public-one", "a")
    real.refuses = lambda _, is_signed: not is_signed
    assert s3.entry("public-one", "a").size == 4
    real.calls.clear()
    s3.entry("public-one", "a")
    assert real.calls == ["HEAD /public-one/a signed"]


def test_what_may_not_be_read_is_refused(real: RealS3StandIn) -> None:
    real.refuses = lambda _path, _is_signed: True
    s3 = RealS3ByBoto3(OWN)
    with pytest.raises(RealS3Refused, match="does not let s3://public-one/a be read, neither with AWS credentials"):
        s3.entry("public-one", "a")
    assert s3.region("public-one") == "eu-west-1"  # it exists, even if it may not be listed


def test_a_listing_goes_on_after_a_page_of_what_is_not_after_the_key(real: RealS3StandIn) -> None:
    real.client.create_bucket(Bucket="folders")
    for key in ("a/1", "a/2", "b/1", "c"):
        real.client.put_object(Bucket="folders", Key=key, Body=b"")
    s3 = RealS3ByBoto3(OWN)  # what stands for real S3 lists a/, which sorts before a/1
    assert s3.listing("folders", "", "/", "a/1", 1) == ListingPage([], ["b/"], "b/")
    last = s3.listing("folders", "", "/", "b/", 1)
    assert ([one.key for one in last.objects], last.prefixes, last.last) == (["c"], [], None)


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
        pytest.raises(RealS3Unavailable, match="s3://public-one/b cannot be read: S3 .* cannot be reached"),
    ):
        s3.entry("public-one", "b")


def test_an_object_that_does_not_come_in_time_says_nothing_of_others(real: RealS3StandIn) -> None:
    s3 = RealS3ByBoto3(OWN)
    with (
        mock.patch.object(s3, "_attempt", side_effect=ReadTimeoutError(endpoint_url=real.url)),
        pytest.raises(RealS3Unavailable, match="s3://public-one/slow cannot be read"),
    ):
        s3.entry("public-one", "slow")
    assert s3.entry("public-one", "a").size == 4


def test_it_is_never_the_emulator_itself(real: RealS3StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:8080/")
    with pytest.raises(RealS3Unavailable, match="which is the emulator itself"):
        RealS3ByBoto3(OWN).entry("public-one", "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", OWN)  # as localmme env sets it
    client = RealS3ByBoto3(OWN)._clients[0]
    assert client.meta.endpoint_url == "https://s3.amazonaws.com"
