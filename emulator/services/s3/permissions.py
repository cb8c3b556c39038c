"""The IAM permissions that an operation of S3 requires. [s3 user guide]"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.aws.arn import s3_arn
from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.services.s3.addressing import bucket_and_key, copy_source, headers_of
from emulator.services.s3.operations import operation_names, operation_of

# The actions of S3's operations, by the keys of operations.OPERATIONS; "object" or "bucket" says which ARN. Others'
# actions have the name of the operation.
ACTIONS: dict[tuple[str, str, str], tuple[str, ...]] = {
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
    ("POST", "bucket", "delete"): (),  # checked for each key
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


def required_permissions(request: AwsRequest, region: str) -> Iterator[RequiredPermission]:
    """The permissions, one after the other, as far as the head shows them; the body is not read.

    Raises AwsError when it cannot be seen what the request is about, or copies from.
    """
    (bucket, key), headers = bucket_and_key(request), headers_of(request)
    operation = operation_of(request.method, bucket, key, request.query, headers)
    level, named = operation[1:]
    actions = ACTIONS.get(operation)
    if actions is None:
        # An unknown operation is refused later; until then, it requires the right to everything in S3.
        actions = tuple(operation_names(*operation)[:1]) or ("*",)
    context = {f"s3:{name}": (value,) for name, value in headers.items() if name.startswith("x-amz-")}
    if "ListBucket" in actions:
        listed = {name: request.query[name] for name in ("prefix", "delimiter", "max-keys") if name in request.query}
        context |= {f"s3:{name}": (value,) for name, value in listed.items()}
    resource = s3_arn(region, bucket, key) if level != "service" else "*"
    for action in actions:
        yield RequiredPermission(f"s3:{action}", resource, context)
    if named.endswith("copy"):
        yield RequiredPermission("s3:GetObject", s3_arn(region, *copy_source(headers["x-amz-copy-source"])), {})
    if "PutObject" in actions and "x-amz-tagging" in headers:
        yield RequiredPermission("s3:PutObjectTagging", resource, context)
