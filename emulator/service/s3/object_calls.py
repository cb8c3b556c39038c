"""The operations on objects, and on the parts of multipart uploads."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace

from emulator.service.s3 import checksums, wire
from emulator.service.s3.addressing import copy_source, http_date
from emulator.service.s3.attributes import Attributes
from emulator.service.s3.bucket_calls import OWNER
from emulator.service.s3.call import Answer, Call, Headers, Sink, xml
from emulator.service.s3.checksums import Expected
from emulator.service.s3.conditions import Unchanged, byte_range, check_reading, for_writing
from emulator.service.s3.errors import (
    NotModified,
    S3Error,
    copy_to_itself,
    incomplete_body,
    invalid_argument,
    invalid_range,
    invalid_request,
    malformed_xml,
    metadata_too_large,
    not_implemented,
    precondition_failed,
    too_large,
)
from emulator.service.s3.keys import segments
from emulator.service.s3.store import BLOCK, Entry
from emulator.service.s3.uploads import PARTS, Asked, Upload, check_part_of
from emulator.service.s3.wire import Element

LARGEST_PUT = 5 << 30  # [api] bytes of one PutObject, UploadPart or CopyObject
METADATA_BYTES = 2048  # [api] names and values of the caller's own metadata
# Kept with an object, and given back with it. Encryption, storage classes and redirects change nothing here.
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
# What no answer may pass over in silence.
NOT_IMPLEMENTED = {
    "x-amz-server-side-encryption-customer-algorithm": "encryption with a key of the caller's (SSE-C)",
    "x-amz-object-lock-mode": "Object Lock",
    "x-amz-object-lock-legal-hold": "Object Lock",
    "x-amz-write-offset-bytes": "appending to an object",
}
OVERRIDES = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}


# Writing


def put_object(call: Call) -> Sink:
    check_key(call)
    condition, expected = for_writing(call.headers, call.key), expectations(call.headers)
    described = attributes_of(call.headers)
    incoming = call.store.incoming(algorithms(call.headers))

    def finish() -> Answer:
        attributes = replace(described, etag=incoming.digests.md5.hex(), checksums=dict(expected.checksums))
        entry = call.store.commit(call.bucket, call.key, incoming, attributes, condition)
        return Answer(200, [("ETag", f'"{attributes.etag}"'), *checksum_headers(attributes), *encryption(entry)])

    return Sink(incoming, expected, finish)


def copy_object(call: Call) -> Answer:
    check_key(call)
    source_bucket, source_key = copy_source(call.headers["x-amz-copy-source"])
    condition = for_writing(call.headers, call.key)
    directive = _directive(call, "x-amz-metadata-directive")
    tagging = _directive(call, "x-amz-tagging-directive")
    file, source = call.store.open(source_bucket, source_key)
    with file:
        try:
            check_reading(source, call.headers, "x-amz-copy-source-")
        except Unchanged:
            raise precondition_failed("x-amz-copy-source-If-None-Match") from None
        described = attributes_of(call.headers)
        changes = directive == "REPLACE" or any(
            name in call.headers
            for name in ("x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption")
        )
        if (source_bucket, source_key) == (call.bucket, call.key) and not changes:
            raise copy_to_itself()
        if source.size > LARGEST_PUT:
            raise invalid_request(
                f"The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_PUT}"
            )
        headers = described.headers
        if directive == "COPY":
            headers = {**{name: value for name, value in source.attributes.headers.items() if name not in _NOT_COPIED}}
            headers |= {name: value for name, value in described.headers.items() if name in _NOT_COPIED}
        tags = described.tags if tagging == "REPLACE" else source.attributes.tags
        # A copy is one object, also of one that was uploaded in parts: its entity tag is the MD5 of its content.
        needed = {call.headers.get("x-amz-checksum-algorithm", "").lower()} & set(checksums.LENGTHS)
        kept = source.attributes.checksums if source.attributes.checksum_type == "FULL_OBJECT" else {}
        is_md5 = "-" not in source.attributes.etag
        incoming = call.store.incoming(needed)
        try:
            if is_md5 and not needed:
                incoming.append(file, source.size)
                etag = source.attributes.etag
            else:
                while block := file.read(BLOCK):
                    incoming.write(block)
                etag = incoming.digests.md5.hex()
            if incoming.size != source.size:  # someone writes to the file by hand
                raise incomplete_body()
            values = {name: value for name in needed if (value := incoming.digests.value(name))} or kept
            attributes = Attributes(etag, headers, values, tags=tags)
            entry = call.store.commit(call.bucket, call.key, incoming, attributes, condition)
        finally:
            incoming.discard()
    children: list[Element] = [("LastModified", wire.xml_time(entry.modified)), ("ETag", f'"{etag}"')]
    children += [(f"Checksum{algorithm.upper()}", value) for algorithm, value in values.items()]
    children += [("ChecksumType", "FULL_OBJECT")] if values else []
    return xml(wire.document("CopyObjectResult", children), headers=encryption(entry))


_NOT_COPIED = {name for name in KEPT if name.startswith("x-amz-")}


def delete_object(call: Call) -> Answer:
    headers = {name: value for name, value in call.headers.items() if name == "if-match"}
    call.store.delete(call.bucket, call.key, for_writing(headers, call.key))
    return Answer(204)


# Reading


def get_object(call: Call) -> Answer:
    file, entry = call.store.open(call.bucket, call.key)
    try:
        answer = _read(call, entry)
        answer.file = file
        return answer
    except BaseException:
        file.close()
        raise


def head_object(call: Call) -> Answer:
    return _read(call, call.store.entry(call.bucket, call.key))


def _read(call: Call, entry: Entry) -> Answer:
    attributes = entry.attributes
    headers = object_headers(entry)
    try:
        check_reading(entry, call.headers)
    except Unchanged:
        raise NotModified([(name, value) for name, value in headers if name in ("ETag", "Last-Modified")]) from None
    asked = _part(call, entry) or byte_range(call.headers.get("range"), entry.size)
    if asked is None:
        start, count, status = 0, entry.size, 200
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += checksum_headers(attributes)
    else:
        (start, count), status = asked, 206
        headers.append(("Content-Range", f"bytes {start}-{start + count - 1}/{entry.size}"))
    if "partNumber" in call.query and attributes.parts:
        headers.append(("x-amz-mp-parts-count", str(len(attributes.parts))))
    overrides = [(header, call.query[name]) for name, header in OVERRIDES.items() if name in call.query]
    replaced = {header.lower() for header, _ in overrides}
    headers = [header for header in headers if header[0].lower() not in replaced] + overrides
    headers.append(("Content-Length", str(count)))
    return Answer(status, headers, start=start, count=count)


def _part(call: Call, entry: Entry) -> tuple[int, int] | None:
    """Where the part is that the caller asks for by its number."""
    given = call.query.get("partNumber")
    if given is None:
        return None
    if "range" in call.headers:
        raise invalid_request("Cannot specify both Range header and partNumber query parameter")
    number = part_number(given)
    sizes = entry.attributes.parts or [entry.size]
    if number > len(sizes):
        raise S3Error(416, "InvalidPartNumber", "The requested partnumber is not satisfiable",
                      PartNumberRequested=number, ActualPartCount=len(sizes))  # fmt: skip
    return (sum(sizes[: number - 1]), sizes[number - 1]) if entry.size else None


def get_object_attributes(call: Call) -> Answer:
    entry = call.store.entry(call.bucket, call.key)
    attributes = entry.attributes
    wanted = {name.strip() for name in call.headers.get("x-amz-object-attributes", "").split(",") if name.strip()}
    if not wanted:
        raise invalid_argument(
            "x-amz-object-attributes must name at least one attribute", "x-amz-object-attributes", ""
        )
    children: list[Element] = []
    if "ETag" in wanted:
        children.append(("ETag", attributes.etag))
    if "Checksum" in wanted and attributes.checksums:
        values: list[Element] = [(f"Checksum{name.upper()}", value) for name, value in attributes.checksums.items()]
        children.append(("Checksum", [*values, ("ChecksumType", attributes.checksum_type)]))
    if "ObjectParts" in wanted and attributes.parts:
        children.append(("ObjectParts", [("PartsCount", len(attributes.parts))]))
    if "StorageClass" in wanted:
        children.append(("StorageClass", attributes.headers.get("x-amz-storage-class", "STANDARD")))
    if "ObjectSize" in wanted:
        children.append(("ObjectSize", entry.size))
    return xml(
        wire.document("GetObjectAttributesResponse", children), headers=[("Last-Modified", http_date(entry.modified))]
    )


def get_object_tagging(call: Call) -> Answer:
    tags = call.store.entry(call.bucket, call.key).attributes.tags
    listed: list[Element] = [("Tag", [("Key", name), ("Value", value)]) for name, value in tags.items()]
    return xml(wire.document("Tagging", [("TagSet", listed)]))


def put_object_tagging(call: Call) -> Answer:
    tag_set = wire.parsed(call.body, "Tagging").find("TagSet")
    if tag_set is None:
        raise malformed_xml()
    tags = {wire.child_text(tag, "Key"): wire.child_text(tag, "Value", "") for tag in tag_set.findall("Tag")}
    call.store.change(call.bucket, call.key, tags)
    return Answer(200)


def delete_object_tagging(call: Call) -> Answer:
    call.store.change(call.bucket, call.key, {})
    return Answer(204)


# Multipart uploads


def create_multipart_upload(call: Call) -> Answer:
    check_key(call)
    call.store.directory(call.bucket)
    if call.key.endswith("/"):
        segments(call.key)
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
    return xml(wire.document("InitiateMultipartUploadResult", children), headers=headers if algorithm else [])


def upload_part(call: Call) -> Sink:
    upload, number = _upload(call), part_number(call.query.get("partNumber", ""))
    check_length(call.headers)
    expected = expectations(call.headers)
    check_part_of(upload, expected.checksums)
    # The object's checksum may be asked for when all parts are there: those that we can, we compute.
    incoming = call.store.incoming({*algorithms(call.headers), *([upload.algorithm] if upload.algorithm else [])})

    def finish() -> Answer:
        check_part_of(upload, expected.checksums)
        values = dict(expected.checksums)
        own = incoming.digests.value(upload.algorithm) if upload.algorithm else None
        if own is not None:
            values[upload.algorithm] = own
        part = call.uploads.put_part(upload, number, incoming, values)
        return Answer(200, [("ETag", f'"{part.etag}"'), *_checksum_values(values)])

    return Sink(incoming, expected, finish)


def upload_part_copy(call: Call) -> Answer:
    upload, number = _upload(call), part_number(call.query.get("partNumber", ""))
    file, source = call.store.open(*copy_source(call.headers["x-amz-copy-source"]))
    with file:
        try:
            check_reading(source, call.headers, "x-amz-copy-source-")
        except Unchanged:
            raise precondition_failed("x-amz-copy-source-If-None-Match") from None
        asked = call.headers.get("x-amz-copy-source-range")
        start, count = 0, source.size
        if asked is not None:
            found = byte_range(asked, source.size)
            if found is None:
                raise invalid_argument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are "
                    "the zero-based offsets of the first and last bytes to copy",
                    "x-amz-copy-source-range",
                    asked,
                )
            last = asked.rpartition("-")[2].strip()
            if last and int(last) >= source.size:
                raise invalid_range(asked, source.size)
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
        ("LastModified", wire.xml_time(part.mtime_ns // 1_000_000_000)),
        ("ETag", f'"{part.etag}"'),
    ]
    children += [(f"Checksum{name.upper()}", value) for name, value in values.items()]
    return xml(wire.document("CopyPartResult", children))


def complete_multipart_upload(call: Call) -> Answer:
    upload = _upload(call)
    asked = []
    for part in wire.parsed(call.body, "CompleteMultipartUpload").findall("Part"):
        values = {name: found for name in checksums.LENGTHS if (found := part.findtext(f"Checksum{name.upper()}"))}
        number = wire.child_text(part, "PartNumber")
        if not number.strip().isdecimal():
            raise malformed_xml()
        asked.append(Asked(int(number), wire.child_text(part, "ETag"), values))
    if not asked or len(asked) > PARTS:
        raise malformed_xml()
    whole = {name: value for name in checksums.LENGTHS if (value := call.headers.get(checksums.HEADER + name))}
    entry = call.uploads.complete(upload, asked, whole, for_writing(call.headers, call.key))
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
    return xml(wire.document("CompleteMultipartUploadResult", children), headers=encryption(entry))


def abort_multipart_upload(call: Call) -> Answer:
    call.uploads.abort(_upload(call))
    return Answer(204)


def list_parts(call: Call) -> Answer:
    upload = _upload(call)
    marker, most = call.query.get("part-number-marker") or "0", call.query.get("max-parts") or "1000"
    if not marker.isdecimal() or not most.isdecimal():
        raise invalid_argument("Provided max-parts or part-number-marker is not an integer", "max-parts", most)
    limit = min(int(most), 1000)
    parts = [part for part in call.uploads.parts(upload) if part.number > int(marker)]
    listed = parts[:limit]
    children: list[Element] = [
        ("Bucket", call.bucket),
        ("Key", call.key),
        ("UploadId", upload.id),
        ("Initiator", OWNER),
        ("Owner", OWNER),
        ("StorageClass", upload.attributes.headers.get("x-amz-storage-class", "STANDARD")),
        ("PartNumberMarker", int(marker)),
        ("NextPartNumberMarker", listed[-1].number if listed else 0),
        ("MaxParts", limit),
        ("IsTruncated", len(parts) > limit > 0),
    ]
    if upload.algorithm:
        children += [("ChecksumAlgorithm", upload.algorithm.upper()), ("ChecksumType", upload.checksum_type)]
    for part in listed:
        details: list[Element] = [
            ("PartNumber", part.number),
            ("LastModified", wire.xml_time(part.mtime_ns // 1_000_000_000)),
            ("ETag", f'"{part.etag}"'),
            ("Size", part.size),
        ]
        children.append(("Part", details + [(f"Checksum{name.upper()}", v) for name, v in part.checksums.items()]))
    return xml(wire.document("ListPartsResult", children))


def _upload(call: Call) -> Upload:
    return call.uploads.find(call.bucket, call.key, call.query.get("uploadId", ""))


def part_number(given: str) -> int:
    """Raises InvalidArgument unless it is 1 to 10,000. [api]"""
    if not given.isascii() or not given.isdecimal() or not 1 <= int(given) <= PARTS:
        raise invalid_argument(f"Part number must be an integer between 1 and {PARTS}, inclusive", "partNumber", given)
    return int(given)


# What requests and answers have in common


def check_key(call: Call) -> None:
    """Raises what keeps an object of this key, or this size, from being written, before its data is read."""
    call.store.directory(call.bucket)
    segments(call.key)
    check_length(call.headers)
    for name, what in NOT_IMPLEMENTED.items():
        if name in call.headers:
            raise not_implemented(what)


def check_length(headers: Mapping[str, str]) -> None:
    length = headers.get("x-amz-decoded-content-length") or headers.get("content-length") or "0"
    if length.isdecimal() and int(length) > LARGEST_PUT:
        raise too_large(int(length), LARGEST_PUT)


def attributes_of(headers: Mapping[str, str]) -> Attributes:
    """What the caller wants to be kept with the object. Raises MetadataTooLarge, InvalidArgument."""
    kept = {name: value for name, value in headers.items() if name in KEPT or name.startswith(METADATA)}
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
    return Attributes("", kept, tags=tags)


def algorithms(headers: Mapping[str, str]) -> set[str]:
    """Those that are to be computed while data comes: what the headers give, and what they announce for the trailer."""
    names = {name for name in checksums.LENGTHS if checksums.HEADER + name in headers}
    for trailer in headers.get("x-amz-trailer", "").split(","):
        name = trailer.strip().lower().removeprefix(checksums.HEADER)
        if name in checksums.LENGTHS:
            names.add(name)
    if _is_sha256(headers.get("x-amz-content-sha256", "")):
        names.add("sha256")
    return names


def expectations(headers: Mapping[str, str]) -> Expected:
    """Raises InvalidDigest, InvalidRequest."""
    sha256 = headers.get("x-amz-content-sha256", "")
    values = {name: value for name in checksums.LENGTHS if (value := headers.get(checksums.HEADER + name))}
    if len(values) > 1:
        raise invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    return Expected(headers.get("content-md5"), sha256 if _is_sha256(sha256) else None, values)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdefABCDEF" for letter in text)


def object_headers(entry: Entry) -> Headers:
    """What an answer says of the object itself."""
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


def checksum_headers(attributes: Attributes) -> Headers:
    headers = _checksum_values(attributes.checksums)
    return [*headers, ("x-amz-checksum-type", attributes.checksum_type)] if headers else []


def encryption(entry: Entry) -> Headers:
    """What S3 says again in its answer to a write."""
    kept = entry.attributes.headers.items()
    return [(name, value) for name, value in kept if name.startswith("x-amz-server-side-encryption")]


def _checksum_values(values: Mapping[str, str]) -> Headers:
    return [(checksums.HEADER + name, value) for name, value in values.items()]


def _directive(call: Call, name: str) -> str:
    directive = call.headers.get(name, "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument(f"Unknown {name.removeprefix('x-amz-').replace('-', ' ')}.", name, directive)
    return directive
