"""Finds a request's operation. One that is not emulated is refused by its name, from botocore's model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from emulator.aws.errors import AwsError
from emulator.aws.services import api_model
from emulator.services.s3 import bucket_operations, multipart_operations, object_operations
from emulator.services.s3.addressing import copy_source
from emulator.services.s3.call import S3Answer, S3Call, UploadSink
from emulator.services.s3.errors import method_not_allowed, not_implemented

Handler = Callable[[S3Call], "S3Answer | UploadSink"]

# [api] what a query can name of a bucket or an object, beside itself
SUBRESOURCES = {
    "abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete", "encryption",
    "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location", "logging", "metadataAnnotationTable",
    "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics",
    "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
    "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging",
    "torrent", "uploads", "versioning", "versions", "website",
}  # fmt: skip

OPERATIONS: dict[tuple[str, str, str], Handler] = {
    ("GET", "service", ""): bucket_operations.list_buckets,
    ("PUT", "bucket", ""): bucket_operations.create_bucket,
    ("HEAD", "bucket", ""): bucket_operations.head_bucket,
    ("DELETE", "bucket", ""): bucket_operations.delete_bucket,
    ("GET", "bucket", ""): bucket_operations.list_objects,
    ("GET", "bucket", "list-type"): bucket_operations.list_objects_v2,
    ("GET", "bucket", "location"): bucket_operations.get_bucket_location,
    ("GET", "bucket", "versioning"): bucket_operations.get_bucket_versioning,
    ("GET", "bucket", "acl"): bucket_operations.get_acl,
    ("GET", "bucket", "uploads"): bucket_operations.list_multipart_uploads,
    ("POST", "bucket", "delete"): bucket_operations.delete_objects,
    ("PUT", "object", ""): object_operations.put_object,
    ("PUT", "object", "copy"): object_operations.copy_object,
    ("GET", "object", ""): object_operations.get_object,
    ("HEAD", "object", ""): object_operations.head_object,
    ("DELETE", "object", ""): object_operations.delete_object,
    ("GET", "object", "acl"): bucket_operations.get_acl,
    ("GET", "object", "attributes"): object_operations.get_object_attributes,
    ("GET", "object", "tagging"): object_operations.get_object_tagging,
    ("PUT", "object", "tagging"): object_operations.put_object_tagging,
    ("DELETE", "object", "tagging"): object_operations.delete_object_tagging,
    ("POST", "object", "uploads"): multipart_operations.create_multipart_upload,
    ("PUT", "object", "uploadId"): multipart_operations.upload_part,
    ("PUT", "object", "uploadId copy"): multipart_operations.upload_part_copy,
    ("POST", "object", "uploadId"): multipart_operations.complete_multipart_upload,
    ("DELETE", "object", "uploadId"): multipart_operations.abort_multipart_upload,
    ("GET", "object", "uploadId"): multipart_operations.list_parts,
}
# What a bucket without that says.
ABSENT = {
    "tagging": ("NoSuchTagSet", "The TagSet does not exist"),
    "policy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "policyStatus": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "cors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "lifecycle": ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    "website": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    "encryption": (
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    "publicAccessBlock": (
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
}


def handler_of(call: S3Call) -> Handler:
    """Raises NotImplemented, MethodNotAllowed."""
    _, level, named = operation = operation_of(call.method, call.bucket, call.key, call.query, call.headers)
    if call.query.get("versionId", "null") != "null":
        raise not_implemented("versions of objects")
    handler = OPERATIONS.get(operation)
    if handler is not None:
        return handler
    if call.method == "GET" and level == "bucket" and named in ABSENT:
        return functools.partial(_absent, named)
    if not named and (call.method, level) == ("POST", "bucket"):
        raise not_implemented("PostObject (uploads of a browser's form)")
    operations = operation_names(call.method, level, named)
    if operations:
        raise not_implemented(" and ".join(operations))
    raise method_not_allowed(call.method, (named or level).upper())


def operation_of(
    method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[str, str, str]:
    """The method, what it applies to (service, bucket or object), and the subresource in the query or a header."""
    level = "object" if key else "bucket" if bucket else "service"
    named = next((name for name in query if name in SUBRESOURCES), "")
    if not named and level == "object" and "uploadId" in query:
        named = "uploadId"
    if not named and level == "bucket" and query.get("list-type") == "2":
        named = "list-type"
    if method == "PUT" and "x-amz-copy-source" in headers and named in ("", "uploadId"):
        named = f"{named} copy".strip()
    return method, level, named


def objects_read(call: S3Call) -> list[tuple[str, str]]:
    """Bucket and key of the objects that a request reads, as they have to be here; without a key, of the bucket only.

    HeadObject and listings read through themselves, without bringing an object here.
    """
    operation = operation_of(call.method, call.bucket, call.key, call.query, call.headers)
    if operation in (("GET", "service", ""), ("PUT", "bucket", "")):
        return []
    method, level, named = operation
    if named.endswith("copy"):
        return [(call.bucket, ""), copy_source(call.headers["x-amz-copy-source"])]
    reads = level == "object" and named != "uploadId" and (method == "GET" or named == "tagging")
    return [(call.bucket, call.key if reads else "")]


def takes_data(handler: Handler) -> bool:
    """Whether a request's body is an object's data, and not a document."""
    return handler in (object_operations.put_object, multipart_operations.upload_part)


def _absent(named: str, call: S3Call) -> S3Answer:
    call.store.directory(call.bucket)
    code, message = ABSENT[named]
    raise AwsError(code, 404, message, BucketName=call.bucket)


def operation_names(method: str, level: str, named: str) -> Sequence[str]:
    """The operations of S3's API with this method and query."""
    found = []
    for name, operation in _operations().items():
        path, _, query = operation["http"]["requestUri"].partition("?")
        words = {word.partition("=")[0] for word in query.split("&")}
        if (
            operation["http"]["method"] == method
            and ("object" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service") == level
            and (named in words if named else not words & SUBRESOURCES)
        ):
            found.append(name)
    return sorted(found)


@functools.cache
def _operations() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = api_model("s3", "2006-03-01")["operations"]
    return found
