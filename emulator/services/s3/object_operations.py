"""The operations on objects."""

from __future__ import annotations

from dataclasses import replace

from emulator.aws.errors import AwsError
from emulator.aws.xml_document import Element
from emulator.services.s3 import xml_documents
from emulator.services.s3.addressing import copy_source, http_date
from emulator.services.s3.call import Headers, S3Answer, S3Call, UploadSink, xml
from emulator.services.s3.errors import (
    NotModified,
    copy_to_itself,
    incomplete_body,
    invalid_argument,
    invalid_request,
    malformed_xml,
    not_latin,
    precondition_failed,
)
from emulator.services.s3.multipart_operations import part_number
from emulator.services.s3.object_headers import (
    KEPT,
    LARGEST_PUT,
    algorithms,
    attributes_of,
    check_header,
    check_key,
    checksum_headers,
    encryption,
    expectations,
    object_headers,
)
from emulator.services.s3.preconditions import Unchanged, byte_range, check_reading, for_writing
from emulator.storage import checksums
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import BLOCK, StoredObject

OVERRIDES = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}


# Writing


def put_object(call: S3Call) -> UploadSink:
    check_key(call)
    condition, expected = for_writing(call), expectations(call.headers)
    requested = attributes_of(call.headers)
    incoming = call.store.incoming(algorithms(call.headers))

    def finish() -> S3Answer:
        attributes = replace(requested, etag=incoming.digests.md5.hex(), checksums=dict(expected.checksums))
        entry = call.store.commit(call.bucket, call.key, incoming, attributes, condition)
        return S3Answer(200, [("ETag", f'"{attributes.etag}"'), *checksum_headers(attributes), *encryption(entry)])

    return UploadSink(incoming, expected, finish)


def copy_object(call: S3Call) -> S3Answer:
    check_key(call)
    source_bucket, source_key = copy_source(call.headers["x-amz-copy-source"])
    condition = for_writing(call)
    directive = _directive(call, "x-amz-metadata-directive")
    tagging = _directive(call, "x-amz-tagging-directive")
    file, source = call.store.open(source_bucket, source_key)
    with file:
        try:
            check_reading(source, call.headers, "x-amz-copy-source-")
        except Unchanged:
            raise precondition_failed("x-amz-copy-source-If-None-Match") from None
        requested = attributes_of(call.headers)
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
        headers = requested.headers
        if directive == "COPY":
            headers = {**{name: value for name, value in source.attributes.headers.items() if name not in _NOT_COPIED}}
            headers |= {name: value for name, value in requested.headers.items() if name in _NOT_COPIED}
        tags = requested.tags if tagging == "REPLACE" else source.attributes.tags
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
            if incoming.size != source.size:  # a user has changed the file meanwhile
                raise incomplete_body()
            values = {name: value for name in needed if (value := incoming.digests.value(name))} or kept
            attributes = ObjectAttributes(etag, headers, values, tags=tags)
            entry = call.store.commit(call.bucket, call.key, incoming, attributes, condition)
        finally:
            incoming.discard()
    children: list[Element] = [("LastModified", xml_documents.xml_time(entry.modified)), ("ETag", f'"{etag}"')]
    children += [(f"Checksum{algorithm.upper()}", value) for algorithm, value in values.items()]
    children += [("ChecksumType", "FULL_OBJECT")] if values else []
    return xml(xml_documents.document("CopyObjectResult", children), headers=encryption(entry))


_NOT_COPIED = {name for name in KEPT if name.startswith("x-amz-")}


def delete_object(call: S3Call) -> S3Answer:
    call.store.delete(call.bucket, call.key, for_writing(call))
    return S3Answer(204)


# Reading


def get_object(call: S3Call) -> S3Answer:
    file, entry = call.store.open(call.bucket, call.key)
    try:
        answer = _read(call, entry)
        answer.file = file
        return answer
    except BaseException:
        file.close()
        raise


def head_object(call: S3Call) -> S3Answer:
    return _read(call, call.entry())


def _read(call: S3Call, entry: StoredObject) -> S3Answer:
    attributes = entry.attributes
    headers = object_headers(entry)
    try:
        check_reading(entry, call.headers)
    except Unchanged:
        raise NotModified([(name, value) for name, value in headers if name in ("ETag", "Last-Modified")]) from None
    requested_range = _part(call, entry) or byte_range(call.headers.get("range"), entry.size)
    if requested_range is None:
        start, count, status = 0, entry.size, 200
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += checksum_headers(attributes)
    else:
        (start, count), status = requested_range, 206
        headers.append(("Content-Range", f"bytes {start}-{start + count - 1}/{entry.size}"))
    if "partNumber" in call.query and attributes.parts:
        headers.append(("x-amz-mp-parts-count", str(len(attributes.parts))))
    overrides = _overrides(call)
    replaced = {header.lower() for header, _ in overrides}
    headers = [header for header in headers if header[0].lower() not in replaced] + overrides
    headers.append(("Content-Length", str(count)))
    return S3Answer(status, headers, start=start, count=count)


def _overrides(call: S3Call) -> Headers:
    """The headers that the query sets in place of the object's. Raises InvalidRequest, InvalidArgument."""
    overrides = {name: call.query[name] for name in OVERRIDES if name in call.query}
    is_signed = "authorization" in call.headers or {"X-Amz-Credential", "AWSAccessKeyId"} & call.query.keys()
    if overrides and not is_signed:  # [api]
        raise invalid_request("Request specific response headers cannot be used for anonymous GET requests.")
    for name, value in overrides.items():
        check_header(name, value)
        if any(ord(letter) > 0xFF for letter in value):
            raise not_latin(name, value)
    return [(OVERRIDES[name], value) for name, value in overrides.items()]


def _part(call: S3Call, entry: StoredObject) -> tuple[int, int] | None:
    """First byte and count of the part that ``partNumber`` names; None without it."""
    text = call.query.get("partNumber")
    if text is None:
        return None
    if "range" in call.headers:
        raise invalid_request("Cannot specify both Range header and partNumber query parameter")
    number = part_number(text)
    sizes = entry.attributes.parts or [entry.size]
    if number > len(sizes):
        raise AwsError("InvalidPartNumber", 416, "The requested partnumber is not satisfiable",
                      PartNumberRequested=number, ActualPartCount=len(sizes))  # fmt: skip
    return (sum(sizes[: number - 1]), sizes[number - 1]) if entry.size else None


def get_object_attributes(call: S3Call) -> S3Answer:
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
        xml_documents.document("GetObjectAttributesResponse", children),
        headers=[("Last-Modified", http_date(entry.modified))],
    )


def get_object_tagging(call: S3Call) -> S3Answer:
    tags = call.store.entry(call.bucket, call.key).attributes.tags
    listed: list[Element] = [("Tag", [("Key", name), ("Value", value)]) for name, value in tags.items()]
    return xml(xml_documents.document("Tagging", [("TagSet", listed)]))


def put_object_tagging(call: S3Call) -> S3Answer:
    tag_set = xml_documents.parsed(call.body, "Tagging").find("TagSet")
    if tag_set is None:
        raise malformed_xml()
    tags = {
        xml_documents.child_text(tag, "Key"): xml_documents.child_text(tag, "Value", "")
        for tag in tag_set.findall("Tag")
    }
    call.store.change(call.bucket, call.key, tags)
    return S3Answer(200)


def delete_object_tagging(call: S3Call) -> S3Answer:
    call.store.change(call.bucket, call.key, {})
    return S3Answer(204)


def _directive(call: S3Call, name: str) -> str:
    directive = call.headers.get(name, "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument(f"Unknown {name.removeprefix('x-amz-').replace('-', ' ')}.", name, directive)
    return directive
