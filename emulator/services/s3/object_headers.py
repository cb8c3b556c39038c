"""The headers of requests and responses that describe an object and its data."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

from emulator.aws.decimals import decimal
from emulator.services.s3.addressing import http_date
from emulator.services.s3.call import Headers, S3Call
from emulator.services.s3.errors import (
    invalid_argument,
    invalid_request,
    metadata_too_large,
    not_implemented,
    not_latin,
    too_large,
)
from emulator.storage import checksums
from emulator.storage.checksums import ExpectedDigests
from emulator.storage.keys import names_of
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import StoredObject

LARGEST_PUT = 5 << 30  # [api] bytes of one PutObject, UploadPart or CopyObject
METADATA_BYTES = 2048  # [api] names and values of the caller's own metadata
# Stored with an object, and returned with it. Encryption, storage classes and redirects have no effect here.
KEPT = {
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
}
METADATA = "x-amz-meta-"
# What a header cannot carry. It comes here by the query of a presigned URL, into which SDKs put headers.
CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # [RFC 9110]
# What no answer may pass over in silence.
NOT_IMPLEMENTED = {
    "x-amz-server-side-encryption-customer-algorithm": "encryption with a key of the caller's (SSE-C)",
    "x-amz-object-lock-mode": "Object Lock",
    "x-amz-object-lock-legal-hold": "Object Lock",
    "x-amz-write-offset-bytes": "appending to an object",
}


def check_key(call: S3Call) -> None:
    """Raises the error for an object that cannot be written, by its key or its size, before its data is read."""
    call.store.directory(call.bucket)
    names_of(call.key)
    check_length(call.headers)
    for name, what in NOT_IMPLEMENTED.items():
        if name in call.headers:
            raise not_implemented(what)


def check_length(headers: Mapping[str, str]) -> None:
    length = headers.get("x-amz-decoded-content-length") or headers.get("content-length") or "0"
    size = decimal(length)
    if size is not None and size > LARGEST_PUT:
        raise too_large(size, LARGEST_PUT)


def attributes_of(headers: Mapping[str, str]) -> ObjectAttributes:
    """The headers to store with the object. Raises MetadataTooLarge, InvalidArgument."""
    kept = {name: value for name, value in headers.items() if name in KEPT or name.startswith(METADATA)}
    for name, value in kept.items():
        check_header(name, value)
    size = sum(len(name) - len(METADATA) + len(value) for name, value in kept.items() if name.startswith(METADATA))
    if size > METADATA_BYTES:
        raise metadata_too_large(size, METADATA_BYTES)
    if kept.get("x-amz-storage-class") == "STANDARD":
        del kept["x-amz-storage-class"]
    encodings = [one.strip() for one in headers.get("content-encoding", "").split(",")]
    encoding = ",".join(one for one in encodings if one and one != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    tagging = headers.get("x-amz-tagging", "")
    try:
        tags = dict(urllib.parse.parse_qsl(tagging, keep_blank_values=True, strict_parsing=bool(tagging)))
    except ValueError:
        raise invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
            "x-amz-tagging",
            tagging,
        ) from None
    return ObjectAttributes("", kept, tags=tags)


def check_header(name: str, value: str) -> None:
    """Raises InvalidArgument for a value that would end its header. [ours] In S3's words for unknown characters."""
    if CONTROLS.search(value) or not HEADER_NAME.fullmatch(name):
        raise not_latin(name, value)


def algorithms(headers: Mapping[str, str]) -> set[str]:
    """The checksums to compute while data is read: those in the headers, and those announced for the trailer."""
    names = {name for name in checksums.LENGTHS if checksums.HEADER + name in headers}
    for trailer in headers.get("x-amz-trailer", "").split(","):
        name = trailer.strip().lower().removeprefix(checksums.HEADER)
        if name in checksums.LENGTHS:
            names.add(name)
    if _is_sha256(headers.get("x-amz-content-sha256", "")):
        names.add("sha256")
    return names


def expectations(headers: Mapping[str, str]) -> ExpectedDigests:
    """Raises InvalidDigest, InvalidRequest."""
    sha256 = headers.get("x-amz-content-sha256", "")
    values = {name: value for name in checksums.LENGTHS if (value := headers.get(checksums.HEADER + name))}
    if len(values) > 1:
        raise invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    return ExpectedDigests(headers.get("content-md5"), sha256 if _is_sha256(sha256) else None, values)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdefABCDEF" for letter in text)


def object_headers(entry: StoredObject) -> Headers:
    """The response headers that describe the object."""
    attributes = entry.attributes
    headers = [
        ("ETag", f'"{attributes.etag}"'),
        ("Last-Modified", http_date(entry.modified)),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", attributes.headers.get("content-type") or "binary/octet-stream"),
    ]
    headers += [(name, value) for name, value in attributes.headers.items() if name != "content-type"]
    if attributes.tags:
        headers.append(("x-amz-tagging-count", str(len(attributes.tags))))
    return headers


def checksum_headers(attributes: ObjectAttributes) -> Headers:
    headers = checksum_values(attributes.checksums)
    return [*headers, ("x-amz-checksum-type", attributes.checksum_type)] if headers else []


def encryption(entry: StoredObject) -> Headers:
    """The headers that S3 repeats in its response to a write."""
    kept = entry.attributes.headers.items()
    return [(name, value) for name, value in kept if name.startswith("x-amz-server-side-encryption")]


def checksum_values(values: Mapping[str, str]) -> Headers:
    return [(checksums.HEADER + name, value) for name, value in values.items()]
