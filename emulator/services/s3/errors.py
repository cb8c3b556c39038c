"""S3's errors: the code, status and words of each. The words of the codes that S3 documents follow S3's. [api]"""

from __future__ import annotations

import errno

from emulator.errors import EmulatorError
from emulator.open_files import EXHAUSTED, too_many


class S3Error(EmulatorError):
    """An error of the S3 API, as it goes on the wire; ``fields`` are further elements of its XML."""

    def __init__(self, status: int, code: str, message: str, **fields: str | int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields


class NotModified(S3Error):
    """304: what the caller has is still right. It goes without a body, but with the object's headers."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        super().__init__(304, "NotModified", "Not Modified")
        self.headers = headers


# Buckets


def no_such_bucket(bucket: str) -> S3Error:
    return S3Error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=bucket)


def bucket_exists(bucket: str) -> S3Error:
    return S3Error(
        409,
        "BucketAlreadyOwnedByYou",
        "Your previous request to create the named bucket succeeded and you already own it.",
        BucketName=bucket,
    )


def bucket_not_empty(bucket: str) -> S3Error:
    return S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty", BucketName=bucket)


def invalid_bucket_name(bucket: str, why: str = "") -> S3Error:
    return S3Error(
        400, "InvalidBucketName", "The specified bucket is not valid." + (why and f" {why}"), BucketName=bucket
    )


def invalid_location_constraint(region: str) -> S3Error:
    return S3Error(
        400, "InvalidLocationConstraint", "The specified location-constraint is not valid", LocationConstraint=region
    )


def illegal_location_constraint(region: str) -> S3Error:
    return S3Error(
        400,
        "IllegalLocationConstraintException",
        f"The {region or 'unspecified'} location constraint is incompatible for the region specific endpoint this "
        "request was sent to.",
    )


def not_yours(bucket: str) -> S3Error:
    return S3Error(403, "AccessDenied", f"Bucket {bucket} does not belong to the expected owner.")


def access_denied(message: str) -> S3Error:
    return S3Error(403, "AccessDenied", message)


# Keys and objects


def no_such_key(key: str) -> S3Error:
    return S3Error(404, "NoSuchKey", "The specified key does not exist.", Key=key)


def key_too_long(size: int, limit: int) -> S3Error:
    return S3Error(400, "KeyTooLongError", "Your key is too long", Size=size, MaxSizeAllowed=limit)


def key_unusable(key: str, why: str) -> S3Error:
    """Ours: S3 takes every key, a file system does not."""
    return S3Error(400, "InvalidArgument", f"This key cannot be a file: {why}.", ArgumentName="key", ArgumentValue=key)


def precondition_failed(condition: str) -> S3Error:
    return S3Error(
        412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition=condition
    )


def invalid_range(asked: str, size: int) -> S3Error:
    return S3Error(
        416, "InvalidRange", "The requested range is not satisfiable", RangeRequested=asked, ActualObjectSize=size
    )


def copy_to_itself() -> S3Error:
    return S3Error(
        400,
        "InvalidRequest",
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
        "metadata, storage class, website redirect location or encryption attributes.",
    )


# Bodies


def incomplete_body() -> S3Error:
    return S3Error(
        400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )


def too_large(size: int, limit: int) -> S3Error:
    return S3Error(
        400,
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=size,
        MaxSizeAllowed=limit,
    )


def message_too_long(limit: int) -> S3Error:
    return S3Error(400, "MaxMessageLengthExceeded", "Your request was too big.", MaxMessageLengthBytes=limit)


def bad_digest(what: str) -> S3Error:
    return S3Error(400, "BadDigest", f"The {what} you specified did not match the calculated checksum.")


def bad_md5() -> S3Error:
    return S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")


def invalid_digest() -> S3Error:
    return S3Error(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")


def chunk_signature_mismatch() -> S3Error:
    return S3Error(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    )


def sha256_mismatch(given: str, computed: str) -> S3Error:
    return S3Error(
        400,
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ClientComputedContentSHA256=given,
        S3ComputedContentSHA256=computed,
    )


def malformed_xml() -> S3Error:
    return S3Error(
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def metadata_too_large(size: int, limit: int) -> S3Error:
    return S3Error(
        400,
        "MetadataTooLarge",
        "Your metadata headers exceed the maximum allowed metadata size",
        Size=size,
        MaxSizeAllowed=limit,
    )


# Multipart uploads


def no_such_upload(upload_id: str) -> S3Error:
    return S3Error(
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        UploadId=upload_id,
    )


def invalid_part(upload_id: str, number: int, etag: str) -> S3Error:
    return S3Error(
        400,
        "InvalidPart",
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
        UploadId=upload_id,
        PartNumber=number,
        ETag=etag,
    )


def invalid_part_order(upload_id: str) -> S3Error:
    return S3Error(
        400,
        "InvalidPartOrder",
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
        UploadId=upload_id,
    )


def part_too_small(number: int, size: int, limit: int, etag: str) -> S3Error:
    return S3Error(
        400,
        "EntityTooSmall",
        "Your proposed upload is smaller than the minimum allowed size",
        ProposedSize=size,
        MinSizeAllowed=limit,
        PartNumber=number,
        ETag=etag,
    )


# Requests


def invalid_argument(message: str, name: str, value: object) -> S3Error:
    return S3Error(400, "InvalidArgument", message, ArgumentName=name, ArgumentValue=str(value))


def not_latin(name: str, value: str) -> S3Error:
    """A header that cannot be sent. [reports]"""
    return invalid_argument("Header value cannot be represented using ISO-8859-1.", name, value)


def invalid_request(message: str) -> S3Error:
    return S3Error(400, "InvalidRequest", message)


def invalid_uri(path: str) -> S3Error:
    return S3Error(400, "InvalidURI", "Couldn't parse the specified URI.", URI=path)


def expired(when: str, now: str) -> S3Error:
    return S3Error(403, "AccessDenied", "Request has expired", Expires=when, ServerTime=now)


def not_implemented(what: str) -> S3Error:
    """Ours: says which operation or header it is."""
    return S3Error(501, "NotImplemented", f"localmme's S3 does not implement {what}.")


def method_not_allowed(method: str, resource: str) -> S3Error:
    return S3Error(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        Method=method,
        ResourceType=resource,
    )


def internal_error() -> S3Error:
    return S3Error(500, "InternalError", "We encountered an internal error. See the emulator's log.")


def of_the_disk(error: OSError) -> S3Error:
    """Ours: what a file system that refuses to write looks like through S3.

    507, because SDKs do not try that status again: another try would not help.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return S3Error(507, "InsufficientStorage", f"The disk of the S3 directory has no room: {error.strerror}.")
    if error.errno in EXHAUSTED:
        return S3Error(503, "SlowDown", f"{too_many()}.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return S3Error(403, "AccessDenied", f"The S3 directory does not allow that: {error.strerror}.")
    return S3Error(500, "InternalError", f"The file system failed: {error.strerror}.")
