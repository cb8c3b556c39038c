"""What a request needs to be allowed: its actions, their resources and condition keys. [service reference]"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emulator.aws.arn import s3_arn, sagemaker_arn
from emulator.aws.request import PAGES
from emulator.gateway.access.iam_policy import RequiredPermission
from emulator.gateway.access.patterns import Context
from emulator.gateway.access.signed_request import SignedRequest
from emulator.services.moto_services.service_call import ServiceCall
from emulator.services.runtime.app import INVOKE, INVOKE_ASYNC, INVOKE_STREAM, parts_of
from emulator.services.s3.addressing import copy_source
from emulator.services.s3.operations import operation_names, operation_of
from emulator.services.sagemaker import operation_of as operation_of_target

_INVOCATIONS = {
    INVOKE: "sagemaker:InvokeEndpoint",
    INVOKE_STREAM: "sagemaker:InvokeEndpointWithResponseStream",
    INVOKE_ASYNC: "sagemaker:InvokeEndpointAsync",
}
# Condition keys, and the headers that they are about. [service reference]
_RUNTIME_KEYS = {
    "sagemaker:targetmodel": "x-amzn-sagemaker-target-model",
    "sagemaker:targetcontainerhostname": "x-amzn-sagemaker-target-container-hostname",
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
_FREE = {"sts:GetCallerIdentity"}  # [api] anybody may
# What gives keys that nobody would know here.
GIVE_KEYS = {
    "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot", "GetFederationToken",
    "GetSessionToken",
}  # fmt: skip

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


def of_runtime(request: SignedRequest, region: str) -> Iterator[RequiredPermission]:
    """Nothing for what is no operation: it is refused as that."""
    name, operation = parts_of(request.raw_path)
    action = _INVOCATIONS.get(operation)
    if action is not None:
        told = {key: request.headers.get(header, "") for key, header in _RUNTIME_KEYS.items()}
        context = {key: (value,) for key, value in told.items() if value}
        yield RequiredPermission(action, sagemaker_arn(region, "endpoint", name), context)


def of_sagemaker(request: SignedRequest, region: str, document: Any) -> Iterator[RequiredPermission]:
    """The control plane. All names in a request are resources of it, except where it lists."""
    operation = operation_of_target(request.target)
    asked = document if isinstance(document, dict) else {}
    context = _tags_and_types(asked)
    arns = [sagemaker_arn(region, kind, name) for member, kind in _NAMED.items() if (name := _text(asked, member))]
    if operation.startswith("List"):
        arns = []
    tagged = _text(asked, "ResourceArn")
    if tagged:
        arns.append(tagged)
    for arn in arns or ["*"]:
        yield RequiredPermission(f"sagemaker:{operation}", arn, context)
    role = _text(asked, "ExecutionRoleArn")
    if role:
        yield RequiredPermission("iam:PassRole", role, {"iam:passedtoservice": ("sagemaker.amazonaws.com",)})


def _text(asked: dict[str, Any], member: str) -> str:
    value = asked.get(member)
    return value if isinstance(value, str) else ""


def _tags_and_types(asked: dict[str, Any]) -> Context:
    context: dict[str, tuple[str, ...]] = {}
    tags = [tag for tag in _list(asked, "Tags") if isinstance(tag.get("Key"), str)]
    if tags:
        context["aws:tagkeys"] = tuple(tag["Key"] for tag in tags)
        context |= {f"aws:requesttag/{tag['Key'].lower()}": (str(tag.get("Value", "")),) for tag in tags}
    variants = [*_list(asked, "ProductionVariants"), *_list(asked, "ShadowProductionVariants")]
    types = tuple(str(one["InstanceType"]) for one in variants if "InstanceType" in one)
    if types:
        context["sagemaker:instancetypes"] = types
    return context


def _list(asked: dict[str, Any], member: str) -> list[dict[str, Any]]:
    value = asked.get(member)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def of_s3(
    request: SignedRequest, region: str, headers: Mapping[str, str], bucket: str, key: str
) -> Iterator[RequiredPermission]:
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
        yield RequiredPermission(f"s3:{action}", s3_arn(region, bucket, key) if level != "service" else "*", context)
    if named.endswith("copy"):
        yield RequiredPermission("s3:GetObject", s3_arn(region, *copy_source(headers["x-amz-copy-source"])), {})
    if "PutObject" in actions and "x-amz-tagging" in headers:
        yield RequiredPermission("s3:PutObjectTagging", s3_arn(region, bucket, key), context)


def of_page(request: SignedRequest) -> Iterator[RequiredPermission]:
    """The emulator's own pages: ``localmme:GetState`` for ``GET /_localmme/state``, and so on. [ours]"""
    verb = "Get" if request.method in ("GET", "HEAD") else request.method.capitalize()
    name = request.path[len(PAGES) :].partition("/")[0].title().replace("-", "").replace("_", "")
    yield RequiredPermission(f"localmme:{verb}{name}", "*", {})


def of_neighbour(call: ServiceCall) -> Iterator[RequiredPermission]:
    """Any other service, by the name that requests are signed for. Its actions are about all resources."""
    action = f"{_PREFIXES.get(call.service, call.service)}:{call.operation}"
    if action not in _FREE:
        yield RequiredPermission(action, "*", {})
