"""Refuses requests whose head could be read in more than one way, as AWS does.

Who reads only the first of two headers, and who reads only the last, would not see the same request.
"""

from __future__ import annotations

from emulator.aws.asgi import Headers, HeadersByName
from emulator.aws.request import AwsRequest
from emulator.aws.services import SIGNING_NAMES
from emulator.gateway.access.denials import unreadable
from emulator.services.s3.operations import SUBRESOURCES

# Headers that are there once at most, and beginnings of such; S3 takes metadata more than once. [api]
ONCE = {b"host", b"authorization", b"content-type", b"content-encoding", b"date", b"smithy-protocol"}
ONCE_BEGIN = (b"x-amz-", b"x-amzn-sagemaker-")
REPEATABLE = b"x-amz-meta-"


def check_head(request: AwsRequest) -> None:
    """Raises Denial when a head says something twice, or contradicts itself."""
    headers = dict(request.raw_headers)
    if len(headers) < len(request.raw_headers):
        _check_repeated(request.raw_headers)
    if has_two_credentials(headers):
        raise unreadable("The header authorization has the parameter Credential more than once")
    if request.target:
        _check_target(request)
    if request.scope["query_string"] and request.service:
        _check_query(request)


def _check_repeated(headers: Headers) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        once = name in ONCE or (name.startswith(ONCE_BEGIN) and not name.startswith(REPEATABLE))
        if once and name in seen:
            raise unreadable(f"The header {name.decode('latin-1')} is in the request more than once")
        seen.add(name)


def has_two_credentials(headers: HeadersByName) -> bool:
    """The first Credential decides which service it is; the last one is used to verify the signature."""
    authorization = headers.get(b"authorization", b"")
    return authorization.startswith(b"AWS4-") and authorization.count(b"Credential=") > 1


def _check_target(request: AwsRequest) -> None:
    service = request.service
    named = SIGNING_NAMES.get(request.target.partition(".")[0])
    signed = request.signed_for.lower() or service
    if named is not None and (named != service or signed != service):
        other = "SageMaker Runtime" if service == "runtime" else signed if signed != named else service
        raise unreadable(f"X-Amz-Target names an operation of {named}, but the request is one to {other}")


def _check_query(request: AwsRequest) -> None:
    # In S3's, a header may stand, whose name has no case.
    names = [name.lower() if name.lower().startswith("x-amz-") else name for name, _ in request.pairs]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise unreadable(f"The query has the parameter {name[:100]} more than once")
        seen.add(name)
    if request.header(b"authorization") and ("x-amz-signature" in seen or {"AWSAccessKeyId", "Signature"} <= seen):
        raise unreadable(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified"
        )
    subresources = [name for name in names if name in SUBRESOURCES] if request.service == "s3" else []
    if len(subresources) > 1:
        raise unreadable(f"Conflicting query string parameters: {', '.join(sorted(subresources))}")
