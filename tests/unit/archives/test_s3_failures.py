"""What people are told when real S3 fails."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions

from emulator.archives import s3_source
from emulator.archives.errors import ArchiveNotFound, ArchiveUnavailable
from emulator.archives.model_data_url import S3Url
from emulator.archives.s3_failures import problem

AMAZON = "https://s3.eu-west-1.amazonaws.com"
LOCAL = "http://127.0.0.1:9000"
URL = S3Url("models", "a/")


def refusal(code: str, status: int, operation: str = "GetObject") -> exceptions.ClientError:
    return exceptions.ClientError(
        {"Error": {"Code": code, "Message": "Said so"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


@pytest.mark.parametrize(
    ("error", "endpoint", "expected"),
    [
        (
            refusal("AccessDenied", 403, "ListObjectsV2"),
            AMAZON,
            "S3 denies access to s3://models/a/ (AccessDenied): "
            "these credentials need s3:ListBucket and s3:GetObject for it.",
        ),
        (
            refusal("ExpiredToken", 400),
            AMAZON,
            "s3://models/a/ cannot be read: S3 does not accept the AWS credentials (ExpiredToken). "
            "Renew them (aws sso login, aws configure), or choose others with AWS_PROFILE.",
        ),
        (
            refusal("SignatureDoesNotMatch", 403),
            LOCAL,
            "s3://models/a/ cannot be read: S3 at http://127.0.0.1:9000 does not accept the AWS credentials "
            "(SignatureDoesNotMatch). Renew them (aws sso login, aws configure), or choose others with AWS_PROFILE.",
        ),
        (
            refusal("NoSuchBucket", 404, "ListObjectsV2"),
            AMAZON,
            "There is no bucket models in S3. Check the URL, and whose credentials these are.",
        ),
        (
            refusal("SlowDown", 503),
            AMAZON,
            "s3://models/a/ cannot be read: S3 answers SlowDown: Said so",
        ),
        (
            exceptions.NoCredentialsError(),
            AMAZON,
            "s3://models/a/ cannot be read: no AWS credentials were found (NoCredentialsError). Set AWS_PROFILE, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or sign in with aws configure or aws sso login.",
        ),
        (
            exceptions.UnauthorizedSSOTokenError(),
            AMAZON,
            "s3://models/a/ cannot be read: no AWS credentials were found (UnauthorizedSSOTokenError). Set "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or sign in with aws configure or "
            "aws sso login.",
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url=AMAZON),
            AMAZON,
            "s3://models/a/ cannot be read: S3 cannot be reached. Check the network.",
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url=LOCAL),
            LOCAL,
            "s3://models/a/ cannot be read: S3 at http://127.0.0.1:9000 cannot be reached. Check the network.",
        ),
        (ValueError("Invalid endpoint: x"), "", "s3://models/a/ cannot be read: ValueError: Invalid endpoint: x"),
    ],
)
def test_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception, endpoint: str, expected: str) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert problem(error, URL, endpoint) == expected


def test_no_secret_is_told() -> None:
    from_a_program = exceptions.CredentialRetrievalError(provider="custom-process", error_msg="key is hunter2")
    assert "hunter2" not in problem(from_a_program, URL, AMAZON)
    unreachable = exceptions.ConnectTimeoutError(endpoint_url="http://me:hunter2@proxy")
    assert "hunter2" not in problem(unreachable, URL, "http://me:hunter2@proxy:9000")
    assert "http://proxy:9000" in problem(unreachable, URL, "http://me:hunter2@proxy:9000")


class Refusing:
    """A client of S3 that is refused everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.meta = self
        self.endpoint_url = AMAZON

    def get_object(self, **_: Any) -> None:
        raise self._error

    head_object = get_object


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchKey"])
def test_callers_hear_of_a_model_that_may_not_be_read_what_they_hear_of_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    client = Refusing(refusal(code, 403 if code == "AccessDenied" else 404))
    monkeypatch.setattr(s3_source, "_client", lambda: client)
    bucket = s3_source.S3Source("models", "a/")
    with pytest.raises(ArchiveNotFound) as caught, bucket.open("m.tar.gz"):
        pass
    assert caught.value.message.startswith("Failed to download model data(bucket: models, key: a/m.tar.gz). Please")
    # The log says more than callers hear.
    assert ("denies access" in str(caught.value.__cause__)) == (code == "AccessDenied")
    with pytest.raises(ArchiveNotFound):
        bucket.version("m.tar.gz")


def test_callers_hear_when_it_is_not_their_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_source, "_client", lambda: Refusing(refusal("ExpiredToken", 400)))
    with pytest.raises(ArchiveUnavailable, match="does not accept the AWS credentials"):
        s3_source.S3Source("models").version("m.tar.gz")
