"""What a request needs to be allowed: its actions, their resources and condition keys. [service reference]"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from emulator.errors import ACCOUNT_ID
from emulator.service.access.patterns import Context
from emulator.service.access.policy import Ask
from emulator.service.access.request import Request
from emulator.service.runtime import INVOKE, INVOKE_ASYNC, INVOKE_STREAM, PREFIX
from emulator.service.s3.addressing import copy_source
from emulator.service.s3.routes import operation_names, operation_of

_INVOCATIONS = {
    INVOKE: "sagemaker:InvokeEndpoint",
    INVOKE_STREAM: "sagemaker:InvokeEndpointWithResponseStream",
    INVOKE_ASYNC: "sagemaker:InvokeEndpointAsync",
}
# A member of a request, and the kind of resource that it names.
_NAMED = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "InferenceComponentName": "inference-component",
}
# The names that requests are signed for, where actions begin with another one.
_PREFIXES = {"monitoring": "cloudwatch"}
_FREE = {"sts:GetCallerIdentity", "sts:GetSessionToken"}  # [api] anybody may

# [s3 user guide] the actions of S3's operations, by the keys of s3.routes.OPERATIONS; "object" or "bucket" says which
# ARN. Others' actions have the name of the operation.
_S3: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("GET", "service", ""): ("ListAllMyBuckets",),
    ("HEAD", "bucket", ""): ("ListBucket",),
    ("GET", "bucket", ""): ("ListBucket",),
    ("GET", "bucket", "list-type"): ("ListBucket",),
    ("GET", "bucket", "versions"): ("ListBucketVersions",),
    ("GET", "bucket", "uploads"): ("ListBucketMultipartUploads",),
    ("GET", "bucket", "encryption"): ("GetEncryptionConfiguration",),
    ("GET", "bucket", "lifecycle"): ("GetLifecycleConfiguration",),
    ("GET", "bucket", "cors"): ("GetBucketCORS",),
    ("GET", "bucket", "publicAccessBlock"): ("GetBucketPublicAccessBlock",),
    ("POST", "bucket", "delete"): (),  # asked for each key
    ("PUT", "object", ""): ("PutObject",),
    ("PUT", "object", "copy"): ("PutObject",),
    ("HEAD", "object", ""): ("GetObject",),
    ("GET", "object", "attributes"): ("GetObject", "GetObjectAttributes"),
    ("POST", "object", "uploads"): ("PutObject",),
    ("PUT", "object", "uploadId"): ("PutObject",),
    ("PUT", "object", "uploadId copy"): ("PutObject",),
    ("POST", "object", "uploadId"): ("PutObject",),
    ("DELETE", "object", "uploadId"): ("AbortMultipartUpload",),
    ("GET", "object", "uploadId"): ("ListMultipartUploadParts",),
}


def sagemaker_arn(region: str, kind: str, name: str) -> str:
    """An ARN as SageMaker has it: its name in small letters, so that policies have to have them as well."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT_ID}:{kind}/{name.lower()}"


def object_arn(bucket: str, key: str = "") -> str:
    """The ARN of an object, or of a bucket."""
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


def of_runtime(request: Request, region: str) -> Iterator[Ask]:
    """Nothing for what is no operation: it is refused as that."""
    name, _, operation = request.raw_path[len(PREFIX) :].partition("/")
    action = _INVOCATIONS.get(operation)
    if action is not None:
        target_model = request.headers.get("x-amzn-sagemaker-target-model")
        context = {"sagemaker:targetmodel": (target_model,)} if target_model else {}
        yield Ask(action, sagemaker_arn(region, "endpoint", urllib.parse.unquote(name)), context)


def of_sagemaker(request: Request, region: str, body: bytes) -> Iterator[Ask]:
    """The control plane. All names in a request are resources of it, except where it lists."""
    operation = request.target.rpartition(".")[2]
    asked = _document(body)
    context = _tags_and_types(asked)
    arns = [sagemaker_arn(region, kind, name) for member, kind in _NAMED.items() if (name := _text(asked, member))]
    if operation.startswith("List"):
        arns = []
    tagged = _text(asked, "ResourceArn")
    if tagged:
        arns.append(tagged)
    for arn in arns or ["*"]:
        yield Ask(f"sagemaker:{operation}", arn, context)
    role = _text(asked, "ExecutionRoleArn")
    if role:
        yield Ask("iam:PassRole", role, {"iam:passedtoservice": ("sagemaker.amazonaws.com",)})


def _document(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        return {}
    return asked if isinstance(asked, dict) else {}


def _text(asked: dict[str, Any], member: str) -> str:
    value = asked.get(member)
    return value if isinstance(value, str) else ""


def _tags_and_types(asked: dict[str, Any]) -> Context:
    context: dict[str, tuple[str, ...]] = {}
    tags = [tag for tag in _list(asked, "Tags") if isinstance(tag.get("Key"), str)]
    if tags:
        context["aws:tagkeys"] = tuple(tag["Key"] for tag in tags)
        context |= {f"aws:requesttag/{tag['Key'].lower()}": (str(tag.get("Value", "")),) for tag in tags}
    types = tuple(str(one["InstanceType"]) for one in _list(asked, "ProductionVariants") if "InstanceType" in one)
    if types:
        context["sagemaker:instancetypes"] = types
    return context


def _list(asked: dict[str, Any], member: str) -> list[dict[str, Any]]:
    value = asked.get(member)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def of_s3(request: Request, headers: Mapping[str, str], bucket: str, key: str) -> Iterator[Ask]:
    """``headers`` are those that S3 sees, ``bucket`` and ``key`` what the request is about.

    Raises S3Error when it copies from nothing.
    """
    found = operation_of(request.method, bucket, key, request.query, headers)
    level, named = found[1:]
    actions = _S3.get(found)
    if actions is None:
        # What is no operation is refused as that; until then, who may do all of S3 may do it.
        actions = tuple(operation_names(*found)[:1]) or ("*",)
    context = {f"s3:{name}": (value,) for name, value in headers.items() if name.startswith("x-amz-")}
    if "ListBucket" in actions:
        asked = {name: request.query[name] for name in ("prefix", "delimiter", "max-keys") if name in request.query}
        context |= {f"s3:{name}": (value,) for name, value in asked.items()}
    for action in actions:
        yield Ask(f"s3:{action}", object_arn(bucket, key) if level != "service" else "*", context)
    if named.endswith("copy"):
        yield Ask("s3:GetObject", object_arn(*copy_source(headers["x-amz-copy-source"])), {})
    if "PutObject" in actions and "x-amz-tagging" in headers:
        yield Ask("s3:PutObjectTagging", object_arn(bucket, key), context)


def of_neighbour(service: str, request: Request, body: bytes) -> Iterator[Ask]:
    """Any other service, by the name that requests are signed for. Its actions are about all resources."""
    prefix = _PREFIXES.get(service, service)
    operation = request.target.rpartition(".")[2]
    if not operation and "smithy-protocol" in request.headers:
        operation = request.path.rpartition("/operation/")[2]
    if not operation:
        form = urllib.parse.parse_qs(body.decode("latin-1")) if b"Action=" in body else {}
        operation = request.query.get("Action") or form.get("Action", ["*"])[-1]
    action = f"{prefix}:{operation}"
    if action not in _FREE:
        yield Ask(action, "*", {})
