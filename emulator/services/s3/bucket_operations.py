"""The operations on buckets, and their listings."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

from emulator.aws.arn import ACCOUNT_ID
from emulator.aws.decimals import decimal
from emulator.aws.errors import AwsError
from emulator.aws.xml_document import Element, text
from emulator.services.s3 import xml_documents
from emulator.services.s3.call import S3Answer, S3Call, xml
from emulator.services.s3.errors import (
    illegal_location_constraint,
    invalid_argument,
    invalid_location_constraint,
    malformed_xml,
)
from emulator.services.s3.storage_errors import s3_error
from emulator.storage.errors import BucketExists, StorageError
from emulator.storage.object_store import StoredObject

Encoder = Callable[[str], str]

MOST_LISTED = 1000  # [api] keys and prefixes of one page
MOST_DELETED = 1000  # [api] keys of one DeleteObjects
# What a region may be called: a list of all of them would be out of date with the next one.
REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}", re.ASCII)
# A canonical user id is 64 hexadecimal digits; this one stands for the account.
OWNER: list[Element] = [("ID", ACCOUNT_ID.rjust(64, "0")), ("DisplayName", "localmme")]


def list_buckets(call: S3Call) -> S3Answer:
    prefix, after = call.query.get("prefix", ""), _token(call, "continuation-token")
    most = _number(call, "max-buckets", 10_000, 10_000, least=1)
    found = [one for one in call.store.buckets() if one.name.startswith(prefix) and one.name > after]
    children: list[Element] = [("Owner", OWNER)]
    listed: list[Element] = [
        (
            "Bucket",
            [
                ("Name", bucket.name),
                ("CreationDate", xml_documents.xml_time(bucket.created_ns // 1_000_000_000)),
                *([("BucketRegion", bucket.region)] if "max-buckets" in call.query else []),
            ],
        )
        for bucket in found[:most]
    ]
    children.append(("Buckets", listed))
    if len(found) > most:
        children.append(("ContinuationToken", _packed(found[most - 1].name)))
    if prefix:
        children.append(("Prefix", prefix))
    return xml(xml_documents.document("ListAllMyBucketsResult", children))


def create_bucket(call: S3Call) -> S3Answer:
    constraint = ""
    if call.body.strip():
        configuration = xml_documents.parsed(call.body, "CreateBucketConfiguration")
        constraint = xml_documents.child_text(configuration, "LocationConstraint", "")
    region = _region_of_new(constraint, call.region)
    try:
        call.store.create_bucket(call.bucket, region)
    except BucketExists:
        if region != "us-east-1":  # where S3 accepts a repeated CreateBucket [api]
            raise
    return S3Answer(200, [("Location", f"/{call.bucket}")])


def _region_of_new(constraint: str, endpoint: str) -> str:
    """The region of a bucket that is created at the endpoint of a region, with a location constraint or without.

    us-east-1, which no constraint may name, creates buckets for all regions; another one only its own, which the
    constraint has to name. [reports] The endpoint is empty for a request that is not signed for a region.

    Raises InvalidLocationConstraint, IllegalLocationConstraintException.
    """
    region = "eu-west-1" if constraint == "EU" else constraint or "us-east-1"
    if endpoint not in ("", "us-east-1", region):
        raise illegal_location_constraint(constraint)
    if constraint == "us-east-1" or not (region == endpoint or REGION.fullmatch(region)):
        raise invalid_location_constraint(constraint)
    return region


def head_bucket(call: S3Call) -> S3Answer:
    return S3Answer(200, [("x-amz-bucket-region", call.store.region(call.bucket)), ("Content-Type", "application/xml")])


def delete_bucket(call: S3Call) -> S3Answer:
    call.store.delete_bucket(call.bucket)
    return S3Answer(204)


def get_bucket_location(call: S3Call) -> S3Answer:
    region = call.store.region(call.bucket)
    shown = "" if region == "us-east-1" else text(region)
    return xml(
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<LocationConstraint xmlns="{xml_documents.NAMESPACE}">{shown}</LocationConstraint>'.encode()
    )


def get_bucket_versioning(call: S3Call) -> S3Answer:
    call.store.directory(call.bucket)
    return xml(xml_documents.document("VersioningConfiguration", []))


def get_acl(call: S3Call) -> S3Answer:
    """The access control list of every bucket and object: full control for its owner, and no other grants."""
    if call.key:
        call.store.entry(call.bucket, call.key)
    else:
        call.store.directory(call.bucket)
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<AccessControlPolicy xmlns="{xml_documents.NAMESPACE}"><Owner>{{owner}}</Owner><AccessControlList><Grant>'
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">{owner}</Grantee>'
        "<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
    )
    owner = "".join(f"<{name}>{value}</{name}>" for name, value in OWNER)
    return xml(head.format(owner=owner).encode())


def list_objects(call: S3Call) -> S3Answer:
    """ListObjects, version 1: a page begins after the key ``marker``."""
    marker, prefix, delimiter = call.query.get("marker", ""), call.query.get("prefix", ""), _delimiter(call)
    most, encode = _number(call, "max-keys", MOST_LISTED, MOST_LISTED), _encoder(call)
    page = call.listing(prefix, delimiter, marker, most)
    last = page.last if most else None
    children: list[Element] = [
        ("Name", call.bucket),
        ("Prefix", encode(prefix)),
        ("Marker", encode(marker)),
        ("MaxKeys", most),
    ]
    if delimiter:
        children.append(("Delimiter", encode(delimiter)))
    children += [("EncodingType", "url")] if encode is xml_documents.url_encoded else []
    children.append(("IsTruncated", last is not None))
    if last is not None and delimiter:  # [api] without a delimiter, callers take the last key
        children.append(("NextMarker", encode(last)))
    children += [("Contents", _contents(entry, encode, owner=True)) for entry in call.store.entries(call.bucket, page)]
    children += [("CommonPrefixes", [("Prefix", encode(common))]) for common in page.prefixes]
    return xml(xml_documents.document("ListBucketResult", children))


def list_objects_v2(call: S3Call) -> S3Answer:
    """ListObjectsV2: a page begins where the previous page's token says."""
    prefix, delimiter = call.query.get("prefix", ""), _delimiter(call)
    start_after, token = call.query.get("start-after", ""), call.query.get("continuation-token")
    after = _token(call, "continuation-token") if token is not None else start_after
    most, encode = _number(call, "max-keys", MOST_LISTED, MOST_LISTED), _encoder(call)
    page = call.listing(prefix, delimiter, after, most)
    last = page.last if most else None
    entries = call.store.entries(call.bucket, page)
    children: list[Element] = [("Name", call.bucket), ("Prefix", encode(prefix)), ("MaxKeys", most)]
    children.append(("KeyCount", len(entries) + len(page.prefixes)))
    if delimiter:
        children.append(("Delimiter", encode(delimiter)))
    children += [("EncodingType", "url")] if encode is xml_documents.url_encoded else []
    children += [("StartAfter", encode(start_after))] if start_after else []
    children += [("ContinuationToken", token)] if token is not None else []
    children.append(("IsTruncated", last is not None))
    if last is not None:
        children.append(("NextContinuationToken", _packed(last)))
    owner = call.query.get("fetch-owner") == "true"
    children += [("Contents", _contents(entry, encode, owner)) for entry in entries]
    children += [("CommonPrefixes", [("Prefix", encode(common))]) for common in page.prefixes]
    return xml(xml_documents.document("ListBucketResult", children))


def delete_objects(call: S3Call) -> S3Answer:
    request = xml_documents.parsed(call.body, "Delete")
    objects = request.findall("Object")
    if not 0 < len(objects) <= MOST_DELETED:
        raise malformed_xml()
    quiet = xml_documents.child_text(request, "Quiet", "").strip() == "true"
    call.store.directory(call.bucket)
    children: list[Element] = []
    for each in objects:
        key = xml_documents.child_text(each, "Key")
        try:
            call.check_key("s3:DeleteObject", call.bucket, key)
            call.store.delete(call.bucket, key)
        except (AwsError, StorageError, OSError) as refused:
            error = refused if isinstance(refused, AwsError) else s3_error(refused)
            children.append(("Error", [("Key", key), ("Code", error.code), ("Message", error.message)]))
        else:
            if not quiet:
                children.append(("Deleted", [("Key", key)]))
    return xml(xml_documents.document("DeleteResult", children))


def list_multipart_uploads(call: S3Call) -> S3Answer:
    prefix, delimiter, encode = call.query.get("prefix", ""), _delimiter(call), _encoder(call)
    key_marker, id_marker = call.query.get("key-marker", ""), call.query.get("upload-id-marker", "")
    most = _number(call, "max-uploads", MOST_LISTED, MOST_LISTED)
    uploads = [one for one in call.uploads.of_bucket(call.bucket) if one.key.startswith(prefix)]
    if key_marker:
        seen = [one.id for one in uploads]
        beyond = seen.index(id_marker) if id_marker in seen else -1
        uploads = [
            one
            for position, one in enumerate(uploads)
            if one.key > key_marker or (one.key == key_marker and -1 < beyond < position)
        ]
    listed: list[Element] = []
    prefixes: list[str] = []
    last = None
    for upload in uploads:
        end = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        common = upload.key[: end + len(delimiter)] if end >= 0 else None
        if common in prefixes or (common and common <= key_marker):
            continue
        if len(listed) + len(prefixes) == most:
            break
        last = upload
        if common:
            prefixes.append(common)
            continue
        details: list[Element] = [("Key", encode(upload.key)), ("UploadId", upload.id)]
        details += [("Initiator", OWNER), ("Owner", OWNER), ("StorageClass", "STANDARD")]
        details.append(("Initiated", xml_documents.xml_time(upload.started_ns // 1_000_000_000)))
        if upload.algorithm:
            details.append(("ChecksumAlgorithm", upload.algorithm.upper()))
            details.append(("ChecksumType", upload.checksum_type))
        listed.append(("Upload", details))
    else:
        last = None
    truncated = last is not None and most > 0
    children: list[Element] = [
        ("Bucket", call.bucket),
        ("KeyMarker", encode(key_marker)),
        ("UploadIdMarker", id_marker),
        ("Prefix", encode(prefix)),
        ("MaxUploads", most),
        ("IsTruncated", truncated),
    ]
    if delimiter:
        children.append(("Delimiter", encode(delimiter)))
    if truncated and last is not None:
        children += [("NextKeyMarker", encode(last.key)), ("NextUploadIdMarker", last.id)]
    children += listed
    children += [("CommonPrefixes", [("Prefix", encode(common))]) for common in prefixes]
    return xml(xml_documents.document("ListMultipartUploadsResult", children))


def _contents(entry: StoredObject, encode: Encoder, owner: bool) -> list[Element]:
    attributes = entry.attributes
    children: list[Element] = [
        ("Key", encode(entry.key)),
        ("LastModified", xml_documents.xml_time(entry.modified)),
        ("ETag", f'"{attributes.etag}"'),
        ("Size", entry.size),
    ]
    children += [("Owner", OWNER)] if owner else []
    children += [("ChecksumAlgorithm", algorithm.upper()) for algorithm in attributes.checksums]
    children += [("ChecksumType", attributes.checksum_type)] if attributes.checksums else []
    children.append(("StorageClass", attributes.headers.get("x-amz-storage-class", "STANDARD")))
    return children


def _delimiter(call: S3Call) -> str:
    return call.query.get("delimiter", "")


def _encoder(call: S3Call) -> Encoder:
    encoding = call.query.get("encoding-type")
    if encoding not in (None, "", "url"):
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
    return xml_documents.url_encoded if encoding else str


def _number(call: S3Call, name: str, default: int, most: int, least: int = 0) -> int:
    text = call.query.get(name)
    if not text:
        return default
    number = decimal(text)
    if number is None or not least <= number <= 2**31 - 1:
        raise invalid_argument(f"Provided {name} not an integer or within integer range", name, text)
    return min(number, most)


def _packed(last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([last]).encode()).decode()


def _token(call: S3Call, name: str) -> str:
    """The last name of the previous page; empty for the first one. Raises InvalidArgument."""
    text = call.query.get(name)
    if text is None:
        return ""
    try:
        [last] = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, TypeError):
        raise invalid_argument("The continuation token provided is incorrect", name, text) from None
    return str(last)
