"""One request to an AWS service, read once: the gateway, access control and the service use the same object."""

from __future__ import annotations

import functools
import random
import re
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from emulator.aws.asgi import Headers, Receive, Scope, Send
from emulator.aws.services import SIGNING_NAMES

RPC_PREFIX = "/service/"
PAGES = "/_localmme/"  # the emulator's own; requests for them are signed for a service "localmme"
HEALTH = PAGES + "health"
LOGIN = PAGES + "login"  # a browser's, which has a code for it
CREDENTIALS = PAGES + "credentials"  # for containers, which have a token for them
FORM = "application/x-www-form-urlencoded"
# Those of STS that take no signature, since their callers have no keys yet.
UNSIGNED_ACTIONS = {"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}
# bucket.localhost, bucket.s3.anything, bucket.s3-region.anything; a bucket's name may have dots.
VIRTUAL_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]*?)\.(?:localhost|s3(?:[.-].*)?)", re.ASCII | re.IGNORECASE)


class Caller(Protocol):
    """Who makes a request, where access is controlled; for what only the service can ask while it executes it."""

    @property
    def name(self) -> str: ...
    @property
    def access_key_id(self) -> str: ...
    @property
    def chunk_signatures(self) -> Any: ...

    def check_key(self, action: str, bucket: str, key: str) -> None:
        """Raises S3's AccessDenied when the caller may not do this with that object."""


class AwsRequest:
    """A request's head. Each part of it is worked out when it is first looked at: an invocation needs few of them.

    ``service`` is what the gateway takes it for: runtime, sagemaker, s3, localmme for the emulator's own pages, or the
    signing name of another service; empty for what anybody may see. Where access is controlled, ``caller`` is who makes
    it, and ``content`` what its body says, as it was authorised: that object is what is executed.
    """

    service = ""
    caller: Caller | None = None
    content: Any = None

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @functools.cached_property
    def id(self) -> str:
        """The request's id in its answer, in the form of its service."""
        return f"{random.getrandbits(64):016X}" if self.service.startswith("s3") else new_request_id()

    @property
    def method(self) -> str:
        return self.scope["method"]  # type: ignore[no-any-return]

    @property
    def path(self) -> str:
        """Decoded."""
        return self.scope["path"]  # type: ignore[no-any-return]

    @property
    def raw_path(self) -> str:
        """As it was sent."""
        return self.scope["raw_path"].partition(b"?")[0].decode("latin-1") or "/"

    @property
    def raw_headers(self) -> Headers:
        return self.scope["headers"]  # type: ignore[no-any-return]

    @property
    def client(self) -> str:
        """The caller's address."""
        return (self.scope.get("client") or ("",))[0]

    @property
    def address(self) -> str:
        """The address of this machine at which the request arrived."""
        return (self.scope.get("server") or ("",))[0]

    @property
    def expects_continue(self) -> bool:
        """Whether the caller waits for an interim response before it sends the body. [RFC 9110, 10.1.1]"""
        return self.header(b"expect").lower() == "100-continue"

    @property
    def is_secure(self) -> bool:
        return self.scope.get("scheme") == "https"

    def header(self, wanted: bytes) -> str:
        """A header's value, the first of that name; empty if there is none."""
        for name, value in self.scope["headers"]:
            if name == wanted:
                return value.decode("latin-1")  # type: ignore[no-any-return]
        return ""

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """By names in lower case. Of a header that is there twice, the last one counts, as in SageMaker Runtime."""
        return {name.decode("latin-1"): decoded(value) for name, value in self.raw_headers}

    @functools.cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of the query, in order."""
        query: bytes = self.scope["query_string"]
        return urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else []

    @functools.cached_property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return dict(self.pairs)

    @functools.cached_property
    def target(self) -> str:
        """The operation that X-Amz-Target names, after its API's version; empty if there is none."""
        return self.header(b"x-amz-target")

    @functools.cached_property
    def credential(self) -> str:
        """``key/date/region/service/aws4_request``, by which it is signed; empty if it is not, or in another way."""
        authorization = self.header(b"authorization")
        if authorization.startswith("AWS4-"):
            return authorization.partition("Credential=")[2].partition(",")[0].strip()
        return self.query.get("X-Amz-Credential", "")

    @functools.cached_property
    def signed_for(self) -> str:
        """The service that it is signed for, by header or in its query; empty if it is not signed."""
        if self.credential:
            parts = self.credential.split("/")  # version 4a has no region
            return parts[-2] if len(parts) >= 4 else ""
        if self.header(b"authorization").startswith("AWS "):  # version 2, of which S3 is the last user
            return "s3"
        return "s3" if "AWSAccessKeyId" in self.query and "Signature" in self.query else ""

    @property
    def signed_region(self) -> str:
        """The region that it is signed for; empty if it is not signed, or for more than one."""
        parts = self.credential.split("/")
        return parts[2] if len(parts) == 5 else ""

    @functools.cached_property
    def named_service(self) -> str:
        """The signing name of the AWS service that it names, such as ``monitoring`` for CloudWatch.

        Empty for one that names none: it is not signed, and neither its target nor its path is an AWS service's.
        """
        if self.signed_for:
            return self.signed_for.lower()
        if self.target:
            return SIGNING_NAMES.get(self.target.partition(".")[0], "")
        if self.path.startswith(RPC_PREFIX):
            return SIGNING_NAMES.get(self.path[len(RPC_PREFIX) :].partition("/")[0], "")
        if self.path == "/" and self.query.get("Action") in UNSIGNED_ACTIONS:
            return "sts"
        if self.path == "/" and self.method == "POST" and self.header(b"content-type").startswith(FORM):
            return "sts"  # only its actions come as a form without a signature
        return ""

    @functools.cached_property
    def bucket_of_host(self) -> str:
        """The bucket that the Host header names; empty if it names none."""
        host = self.header(b"host")
        match = VIRTUAL_HOST.fullmatch(host.rpartition(":")[0] if re.search(r":\d+$", host) else host)
        return match["bucket"].lower() if match else ""

    @functools.cached_property
    def bucket_and_key(self) -> tuple[str, str]:
        """What a request to S3 is about, each empty if there is none. Raises UnicodeDecodeError."""
        path = urllib.parse.unquote_to_bytes(self.scope["raw_path"].partition(b"?")[0] or b"/").decode()
        path = path.removeprefix("/")
        if self.bucket_of_host:
            return self.bucket_of_host, path
        bucket, _, key = path.partition("/")
        return bucket, key


Service = Callable[[AwsRequest, Receive, Send], Awaitable[None]]


def new_request_id() -> str:
    """The id of a request to any service but S3: a UUID of version 4.

    Not from os.urandom, as it has to be unique, not secret; not by ``uuid``, which takes three times as long.
    """
    digits = random.getrandbits(128).to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def decoded(value: bytes) -> str:
    """A header's value as text: UTF-8, else Latin-1, which is how HTTP libraries send what is not ASCII."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
