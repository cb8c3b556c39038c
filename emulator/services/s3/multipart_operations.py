"""The operations on multipart uploads and their parts."""

from __future__ import annotations

import urllib.parse

from emulator.aws.decimals import decimal
from emulator.aws.xml_document import Element
from emulator.services.s3 import xml_documents
from emulator.services.s3.addressing import copy_source
from emulator.services.s3.bucket_operations import OWNER
from emulator.services.s3.call import S3Answer, S3Call, UploadSink, xml
from emulator.services.s3.errors import (
    incomplete_body,
    invalid_argument,
    invalid_range,
    invalid_request,
    malformed_xml,
    precondition_failed,
)
from emulator.services.s3.object_headers import (
    algorithms,
    attributes_of,
    check_key,
    check_length,
    checksum_values,
    encryption,
    expectations,
)
from emulator.services.s3.preconditions import Unchanged, byte_range, check_reading, for_writing
from emulator.storage import checksums
from emulator.storage.keys import names_of
from emulator.storage.multipart_uploads import PARTS, MultipartUpload, RequestedPart
from emulator.storage.object_store import BLOCK


def create_multipart_upload(call: S3Call) -> S3Answer:
    check_key(call)
    call.store.directory(call.bucket)
    if call.key.endswith("/"):
        names_of(call.key)
    algorithm = call.headers.get("x-amz-checksum-algorithm", "").lower()
    if algorithm and algorithm not in checksums.LENGTHS:
        raise invalid_request("Checksum algorithm provided is unsupported.")
    kind = call.headers.get("x-amz-checksum-type", "").upper()
    default = "FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE"
    if (kind == "FULL_OBJECT" and algorithm not in checksums.CAN_BE_FULL) or (
        kind == "COMPOSITE" and algorithm in ("", "crc64nvme")
    ):
        raise invalid_request(f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.")
    upload_id = call.uploads.create(
        call.bucket, call.key, attributes_of(call.headers), algorithm, (kind or default) if algorithm else ""
    )
    children: list[Element] = [("Bucket", call.bucket), ("Key", call.key), ("UploadId", upload_id)]
    headers = [("x-amz-checksum-algorithm", algorithm.upper()), ("x-amz-checksum-type", kind or default)]
    return xml(xml_documents.document("InitiateMultipartUploadResult", children), headers=headers if algorithm else [])


def upload_part(call: S3Call) -> UploadSink:
    upload, number = _upload(call), part_number(call.query.get("partNumber", ""))
    check_length(call.headers)
    expected = expectations(call.headers)
    _check_algorithm(upload, expected.checksums)
    # The object's checksum may be requested once all parts are there, so all that can be computed are.
    incoming = call.store.incoming({*algorithms(call.headers), *([upload.algorithm] if upload.algorithm else [])})

    def finish() -> S3Answer:
        _check_algorithm(upload, expected.checksums)
        values = dict(expected.checksums)
        own = incoming.digests.value(upload.algorithm) if upload.algorithm else None
        if own is not None:
            values[upload.algorithm] = own
        part = call.uploads.put_part(upload, number, incoming, values)
        return S3Answer(200, [("ETag", f'"{part.etag}"'), *checksum_values(values)])

    return UploadSink(incoming, expected, finish)


def upload_part_copy(call: S3Call) -> S3Answer:
    upload, number = _upload(call), part_number(call.query.get("partNumber", ""))
    file, source = call.store.open(*copy_source(call.headers["x-amz-copy-source"]))
    with file:
        try:
            check_reading(source, call.headers, "x-amz-copy-source-")
        except Unchanged:
            raise precondition_failed("x-amz-copy-source-If-None-Match") from None
        range_header = call.headers.get("x-amz-copy-source-range")
        start, count = 0, source.size
        if range_header is not None:
            found = byte_range(range_header, source.size)
            if found is None:
                raise invalid_argument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are "
                    "the zero-based offsets of the first and last bytes to copy",
                    "x-amz-copy-source-range",
                    range_header,
                )
            last = decimal(range_header.rpartition("-")[2].strip())
            if last is not None and last >= source.size:
                raise invalid_range(range_header, source.size)
            start, count = found
        incoming = call.store.incoming([upload.algorithm] if upload.algorithm else [])
        try:
            file.seek(start)
            while incoming.size < count and (block := file.read(min(BLOCK, count - incoming.size))):
                incoming.write(block)
            if incoming.size != count:
                raise incomplete_body()
            value = incoming.digests.value(upload.algorithm) if upload.algorithm else None
            values = {upload.algorithm: value} if value is not None else {}
            part = call.uploads.put_part(upload, number, incoming, values)
        finally:
            incoming.discard()
    children: list[Element] = [
        ("LastModified", xml_documents.xml_time(part.mtime_ns // 1_000_000_000)),
        ("ETag", f'"{part.etag}"'),
    ]
    children += [(f"Checksum{name.upper()}", value) for name, value in values.items()]
    return xml(xml_documents.document("CopyPartResult", children))


def complete_multipart_upload(call: S3Call) -> S3Answer:
    upload = _upload(call)
    requested = []
    for part in xml_documents.parsed(call.body, "CompleteMultipartUpload").findall("Part"):
        values = {name: found for name in checksums.LENGTHS if (found := part.findtext(f"Checksum{name.upper()}"))}
        number = decimal(xml_documents.child_text(part, "PartNumber").strip())
        if number is None:
            raise malformed_xml()
        requested.append(RequestedPart(number, xml_documents.child_text(part, "ETag"), values))
    if not requested or len(requested) > PARTS:
        raise malformed_xml()
    whole = {name: value for name in checksums.LENGTHS if (value := call.headers.get(checksums.HEADER + name))}
    entry = call.uploads.complete(upload, requested, whole, for_writing(call))
    attributes = entry.attributes
    location = f"http://{call.headers.get('host', 'localhost')}/{call.bucket}/{urllib.parse.quote(call.key)}"
    children: list[Element] = [
        ("Location", location),
        ("Bucket", call.bucket),
        ("Key", call.key),
        ("ETag", f'"{attributes.etag}"'),
    ]
    children += [(f"Checksum{name.upper()}", value) for name, value in attributes.checksums.items()]
    children += [("ChecksumType", attributes.checksum_type)] if attributes.checksums else []
    return xml(xml_documents.document("CompleteMultipartUploadResult", children), headers=encryption(entry))


def abort_multipart_upload(call: S3Call) -> S3Answer:
    call.uploads.abort(_upload(call))
    return S3Answer(204)


def list_parts(call: S3Call) -> S3Answer:
    upload = _upload(call)
    max_parts = call.query.get("max-parts") or "1000"
    marker, most = decimal(call.query.get("part-number-marker") or "0"), decimal(max_parts)
    if marker is None or most is None:
        raise invalid_argument("Provided max-parts or part-number-marker is not an integer", "max-parts", max_parts)
    limit = min(most, 1000)
    parts = [part for part in call.uploads.parts(upload) if part.number > marker]
    listed = parts[:limit]
    children: list[Element] = [
        ("Bucket", call.bucket),
        ("Key", call.key),
        ("UploadId", upload.id),
        ("Initiator", OWNER),
        ("Owner", OWNER),
        ("StorageClass", upload.attributes.headers.get("x-amz-storage-class", "STANDARD")),
        ("PartNumberMarker", marker),
        ("NextPartNumberMarker", listed[-1].number if listed else 0),
        ("MaxParts", limit),
        ("IsTruncated", len(parts) > limit > 0),
    ]
    if upload.algorithm:
        children += [("ChecksumAlgorithm", upload.algorithm.upper()), ("ChecksumType", upload.checksum_type)]
    for part in listed:
        details: list[Element] = [
            ("PartNumber", part.number),
            ("LastModified", xml_documents.xml_time(part.mtime_ns // 1_000_000_000)),
            ("ETag", f'"{part.etag}"'),
            ("Size", part.size),
        ]
        children.append(("Part", details + [(f"Checksum{name.upper()}", v) for name, v in part.checksums.items()]))
    return xml(xml_documents.document("ListPartsResult", children))


def _upload(call: S3Call) -> MultipartUpload:
    return call.uploads.find(call.bucket, call.key, call.query.get("uploadId", ""))


def _check_algorithm(upload: MultipartUpload, values: dict[str, str]) -> None:
    """Raises InvalidRequest when a part's checksum algorithm is not that of the upload."""
    for algorithm in values:
        if upload.algorithm and algorithm != upload.algorithm:
            raise invalid_request(
                f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm}, "
                f"actual checksum Type: {algorithm}"
            )


def part_number(text: str) -> int:
    """Raises InvalidArgument unless it is 1 to 10,000. [api]"""
    number = decimal(text)
    if number is None or not 1 <= number <= PARTS:
        raise invalid_argument(f"Part number must be an integer between 1 and {PARTS}, inclusive", "partNumber", text)
    return number
