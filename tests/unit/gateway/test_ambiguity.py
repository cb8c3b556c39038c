"""Heads of requests that could be read in more than one way are refused."""

from __future__ import annotations

import pytest

from emulator.aws.request import AwsRequest
from emulator.gateway.access.denials import Denial
from emulator.gateway.ambiguity import check_head
from tests.support.asgi_client import http_scope

SIGNED = "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
AMBIGUOUS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "two targets": ("sagemaker", "/", [("x-amz-target", "SageMaker.A"), ("x-amz-target", "SageMaker.B")]),
    "two credentials": ("s3", "/", [("authorization", SIGNED.format("s3") + ", Credential=L/20260101/r/s3/x")]),
    "signed for another service": (
        "sagemaker",
        "/",
        [("authorization", SIGNED.format("iam")), ("x-amz-target", "SageMaker.ListModels")],
    ),
    "a parameter twice": ("s3", "/bucket?prefix=a&prefix=b", []),
    "two subresources": ("s3", "/bucket?acl&tagging", []),
    "signed in two ways": ("s3", "/bucket?X-Amz-Signature=0", [("authorization", SIGNED.format("s3"))]),
}
CLEAR: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "metadata twice": ("s3", "/bucket/key", [("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")]),
    "one target": ("sagemaker", "/", [("authorization", SIGNED.format("sagemaker")), ("x-amz-target", "SageMaker.A")]),
    "one subresource": ("s3", "/bucket?acl&prefix=a", []),
}


def request(service: str, target: str, headers: list[tuple[str, str]]) -> AwsRequest:
    found = AwsRequest(http_scope("POST", target, headers))
    found.service = service
    return found


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_head_that_says_two_things_is_refused(case: str) -> None:
    with pytest.raises(Denial):
        check_head(request(*AMBIGUOUS[case]))


@pytest.mark.parametrize("case", CLEAR)
def test_a_head_that_says_one_thing_is_taken(case: str) -> None:
    check_head(request(*CLEAR[case]))
