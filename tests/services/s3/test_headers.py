"""What callers say in S3's headers and parameters is refused where it would break out of the line that repeats it."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.services.s3.call import S3Call
from emulator.services.s3.object_headers import attributes_of
from emulator.services.s3.object_operations import OVERRIDES, _overrides

SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
ANONYMOUS = "Request specific response headers cannot be used for anonymous GET requests."


def overrides(query: dict[str, str], headers: dict[str, str]) -> list[tuple[str, str]]:
    nothing: Any = None
    return _overrides(S3Call(nothing, nothing, "GET", "b", "k", query, headers))


def test_a_signed_request_may_say_what_its_answers_headers_are() -> None:
    query = {name: f"value of {name}" for name in OVERRIDES}
    assert dict(overrides(query, SIGNED)) == {header: query[name] for name, header in OVERRIDES.items()}
    by_query = {"response-content-type": "text/csv", "X-Amz-Credential": "x"}
    assert overrides(by_query, {}) == [("Content-Type", "text/csv")]
    assert overrides({"response-expires": "0", "AWSAccessKeyId": "x"}, {}) == [("Expires", "0")]
    assert overrides({}, {}) == []


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_anonymous_one_may_not(name: str) -> None:
    with pytest.raises(AwsError, match="anonymous") as caught:
        overrides({name: "text/html"}, {})
    assert (caught.value.status, caught.value.code, caught.value.message) == (400, "InvalidRequest", ANONYMOUS)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\x7f", "a\x1b[2J", "微信"])
@pytest.mark.parametrize("name", OVERRIDES)
def test_none_of_them_gets_out_of_its_line(name: str, value: str) -> None:
    with pytest.raises(AwsError, match="ISO-8859-1") as caught:
        overrides({name: value}, SIGNED)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-meta-a": "b\r\nc: d"},
        {"x-amz-meta-a": "\0"},
        {"x-amz-meta-a\r\nb": "c"},
        {"x-amz-meta-a: b": "c"},
        {"x-amz-website-redirect-location": "/\n"},
        {"x-amz-storage-class": "STANDARD\r"},
    ],
)
def test_nor_does_what_is_kept_with_an_object(headers: dict[str, str]) -> None:
    with pytest.raises(AwsError, match="ISO-8859-1"):
        attributes_of(headers)


def test_what_headers_may_say_is_kept() -> None:
    said = {"x-amz-meta-a": "tab\t, \xe9", "x-amz-meta-b_c.d": "", "content-type": "text/plain; charset=utf-8"}
    assert attributes_of(said).headers == said
