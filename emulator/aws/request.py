"""Which AWS service a request is for, by what its head tells: the signature, the target, the path."""

from __future__ import annotations

import urllib.parse

from emulator.aws.asgi import Scope

# X-Amz-Target and the paths of RPC v2 name an operation after the version of a service's API.
SERVICES = {
    "SageMaker": "sagemaker",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "GraniteServiceVersion20100801": "monitoring",  # CloudWatch
    "Logs_20140328": "logs",
}
# Where in a scope it says, if access is controlled, who was admitted, and what their request was understood to say:
# the document of an operation of SageMaker, the call of another service.
ADMITTED, DOCUMENT, CALL = "localmme.admitted", "localmme.document", "localmme.call"
RPC_PREFIX = "/service/"
PAGES = "/_localmme/"  # the emulator's own; requests for them are signed for a service "localmme"
HEALTH = PAGES + "health"
FORM = "application/x-www-form-urlencoded"
# Those of STS that take no signature, since their callers have no keys yet.
UNSIGNED_ACTIONS = {"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}


def service_of(scope: Scope) -> str | None:
    """The signing name of the AWS service that a request is for, such as ``monitoring`` for CloudWatch.

    None for one that names none: it is not signed, and neither its target nor its path is an AWS service's.
    """
    service = signed_for(scope)
    if service:
        return service.lower()
    target = header(scope, b"x-amz-target")
    if target:
        return SERVICES.get(target.partition(".")[0])
    path: str = scope["path"]
    if path.startswith(RPC_PREFIX):
        return SERVICES.get(path[len(RPC_PREFIX) :].partition("/")[0])
    if path == "/" and parsed_query(scope["query_string"]).get("Action") in UNSIGNED_ACTIONS:
        return "sts"
    if path == "/" and scope["method"] == "POST" and header(scope, b"content-type").startswith(FORM):
        return "sts"  # only its actions come as a form without a signature
    return None


def credential(scope: Scope) -> str:
    """``key/date/region/service/aws4_request``, by which a request is signed; empty if it is not, or in another way."""
    authorization = header(scope, b"authorization")
    if authorization.startswith("AWS4-"):
        return authorization.partition("Credential=")[2].partition(",")[0].strip()
    query: bytes = scope["query_string"]
    if b"X-Amz-Credential=" in query:
        return parsed_query(query).get("X-Amz-Credential", "")
    return ""


def signed_for(scope: Scope) -> str:
    """The service that a request is signed for, by header or in its query; empty if it is not signed."""
    signed = credential(scope)
    if signed:
        parts = signed.split("/")  # version 4a has no region
        return parts[-2] if len(parts) >= 4 else ""
    if header(scope, b"authorization").startswith("AWS "):  # version 2, of which S3 is the last user
        return "s3"
    query: bytes = scope["query_string"]
    return "s3" if b"AWSAccessKeyId=" in query and b"Signature=" in query else ""


def signed_region(scope: Scope) -> str:
    """The region that a request is signed for; empty if it is not signed, or for more than one."""
    parts = credential(scope).split("/")
    return parts[2] if len(parts) == 5 else ""


def header(scope: Scope, wanted: bytes) -> str:
    """A header's value; empty if there is none."""
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return ""


def parsed_query(query: bytes) -> dict[str, str]:
    """The last value of each name."""
    return dict(urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True))
