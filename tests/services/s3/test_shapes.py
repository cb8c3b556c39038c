"""Every answer is of the shape that botocore's model of S3 says, and says nothing that the model does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.model import ListShape, Shape, StructureShape

from emulator.services.s3.operations import ABSENT, OPERATIONS, SUBRESOURCES, operation_names
from tests.support.s3_servers import S3Server, served

KEY = {"Bucket": "shapes", "Key": "a"}
PART = {**KEY, "UploadId": "UPLOAD", "PartNumber": 1}
CALLS: dict[str, dict[str, Any]] = {
    "ListBuckets": {},
    "CreateBucket": {"Bucket": "another"},
    "HeadBucket": {"Bucket": "shapes"},
    "GetBucketLocation": {"Bucket": "shapes"},
    "GetBucketVersioning": {"Bucket": "shapes"},
    "GetBucketAcl": {"Bucket": "shapes"},
    "PutObject": {**KEY, "Body": b"data", "ChecksumAlgorithm": "SHA256", "Metadata": {"a": "b"}, "Tagging": "a=b"},
    "GetObject": {**KEY, "ChecksumMode": "ENABLED", "Range": "bytes=0-1"},
    "HeadObject": {**KEY, "ChecksumMode": "ENABLED"},
    "GetObjectAcl": KEY,
    "GetObjectAttributes": {
        **KEY,
        "ObjectAttributes": ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"],
    },
    "GetObjectTagging": KEY,
    "PutObjectTagging": {**KEY, "Tagging": {"TagSet": [{"Key": "x", "Value": "y"}]}},
    "DeleteObjectTagging": KEY,
    "CopyObject": {"Bucket": "shapes", "Key": "b/c", "CopySource": "shapes/a", "ChecksumAlgorithm": "CRC32"},
    "ListObjects": {"Bucket": "shapes", "Delimiter": "/", "MaxKeys": 1},
    "ListObjectsV2": {"Bucket": "shapes", "Delimiter": "/", "MaxKeys": 1, "FetchOwner": True, "StartAfter": "0"},
    "CreateMultipartUpload": {**KEY, "ChecksumAlgorithm": "CRC32"},
    "UploadPart": {**PART, "Body": b"part", "ChecksumAlgorithm": "CRC32"},
    "UploadPartCopy": {**PART, "PartNumber": 2, "CopySource": "shapes/a"},
    "ListParts": {**KEY, "UploadId": "UPLOAD"},
    "ListMultipartUploads": {"Bucket": "shapes", "Prefix": "a", "Delimiter": "/"},
    "CompleteMultipartUpload": {**KEY, "UploadId": "UPLOAD", "MultipartUpload": {"Parts": [{"PartNumber": 1}]}},
    "AbortMultipartUpload": {**KEY, "UploadId": "UPLOAD"},
    "DeleteObjects": {"Bucket": "shapes", "Delete": {"Objects": [{"Key": "a"}, {"Key": "x//y"}]}},
    "DeleteObject": {"Bucket": "shapes", "Key": "b/c"},
    "DeleteBucket": {"Bucket": "another"},
}
# What a client cannot do without, where the model calls nothing required.
NEEDED = {
    "ListBuckets": {"Buckets", "Owner"},
    "PutObject": {"ETag", "ChecksumSHA256", "ChecksumType"},
    "GetObject": {"Body", "ETag", "LastModified", "ContentLength", "ContentRange", "ContentType", "TagCount"},
    "HeadObject": {"ETag", "LastModified", "ContentLength", "ContentType", "ChecksumSHA256", "Metadata"},
    "CopyObject": {"CopyObjectResult"},
    "ListObjects": {"Name", "MaxKeys", "IsTruncated", "Contents", "NextMarker", "Delimiter", "EncodingType"},
    "ListObjectsV2": {"Name", "MaxKeys", "KeyCount", "IsTruncated", "Contents", "NextContinuationToken", "StartAfter"},
    "CreateMultipartUpload": {"Bucket", "Key", "UploadId", "ChecksumAlgorithm", "ChecksumType"},
    "UploadPart": {"ETag", "ChecksumCRC32"},
    "UploadPartCopy": {"CopyPartResult"},
    "ListParts": {"Parts", "UploadId", "MaxParts", "IsTruncated", "NextPartNumberMarker", "Owner", "Initiator"},
    "ListMultipartUploads": {"Uploads", "Bucket", "IsTruncated", "MaxUploads"},
    "CompleteMultipartUpload": {"Location", "Bucket", "Key", "ETag", "ChecksumCRC32", "ChecksumType"},
    "DeleteObjects": {"Deleted"},
    "GetObjectAttributes": {"ETag", "ObjectSize", "StorageClass", "LastModified", "Checksum"},
    "GetObjectAcl": {"Owner", "Grants"},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with served(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_every_answer_is_of_its_shape(server: S3Server) -> None:
    s3, bodies = server.client, []
    s3.create_bucket(Bucket="shapes")
    s3.meta.events.register("before-parse.s3", lambda response_dict, **_: bodies.append(response_dict["body"]))
    by_name = {operation: method for method, operation in s3.meta.method_to_api_mapping.items()}
    upload, part = "", {}
    for name, template in CALLS.items():
        arguments = dict(template)
        if name == "AbortMultipartUpload":
            upload = s3.create_multipart_upload(**KEY)["UploadId"]
        if name == "CompleteMultipartUpload":
            chosen = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
            arguments["MultipartUpload"] = {"Parts": [chosen]}
        if "UploadId" in arguments:
            arguments["UploadId"] = upload
        bodies.clear()
        answer = getattr(s3, by_name[name])(**arguments)
        if name == "CreateMultipartUpload":
            upload = answer["UploadId"]
        if name == "UploadPart":
            part = answer
        shape = s3.meta.service_model.operation_model(name).output_shape
        assert NEEDED.get(name, set()) <= set(answer), name
        if shape is not None:
            has_required(shape, {key: value for key, value in answer.items() if key != "ResponseMetadata"}, name)
            if bodies[0] and isinstance(bodies[0], bytes) and bodies[0].startswith(b"<?xml"):
                payload = shape.serialization.get("payload")
                root = shape.members[payload] if payload and name != "GetBucketLocation" else shape
                is_known(root, ElementTree.fromstring(bodies[0]), name)


def test_every_operation_that_is_there_was_called() -> None:
    called = {
        (method, level, named): name
        for (method, level, named) in OPERATIONS
        for name in operation_names(method, level, named.replace(" copy", "").replace("copy", ""))
        if name in CALLS
    }
    assert len(CALLS) == len(OPERATIONS)
    plain = {key for key in OPERATIONS if not any(word in key[2] for word in ("copy", "uploadId", "list-type"))}
    assert plain <= set(called)


def test_what_a_query_can_name_is_what_the_model_says(server: S3Server) -> None:
    model = server.client.meta.service_model
    flags = set()
    for name in model.operation_names:
        query = model.operation_model(name).http["requestUri"].partition("?")[2]
        flags |= {word for word in query.split("&") if word and "=" not in word}
    # Newer models may know more; what ours knows must be there.
    assert flags - {"select-type", "list-type"} >= SUBRESOURCES - {"abac", "annotation", "renameObject"} - {
        one for one in SUBRESOURCES if one.startswith("metadata")
    }
    assert set(ABSENT) <= SUBRESOURCES


def has_required(shape: Shape, value: Any, path: str) -> None:
    """Every required member is there, and every value is of its kind."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name in shape.required_members:
            assert name in value, f"{path}.{name} is missing"
        for name, one in value.items():
            assert name in shape.members, f"{path}.{name} is unknown"
            has_required(shape.members[name], one, f"{path}.{name}")
        return
    if isinstance(shape, ListShape):
        for one in value:
            has_required(shape.member, one, f"{path}[]")
        return
    kinds = {"string": str, "integer": int, "long": int, "boolean": bool}
    if shape.type_name in kinds and value is not None:  # us-east-1 is an empty LocationConstraint
        assert isinstance(value, kinds[shape.type_name]), path
        if getattr(shape, "enum", None) and value:
            assert value in shape.enum, f"{path} is {value}"


def is_known(shape: Shape, element: ElementTree.Element, path: str) -> None:
    """Every element is a member of the shape."""
    if not isinstance(shape, StructureShape):
        return
    names = {}
    for name, member in shape.members.items():
        flattened = isinstance(member, ListShape) and member.serialization.get("flattened")
        names[member.serialization.get("name", name)] = member.member if flattened else member
    for child in element:
        tag = child.tag.rpartition("}")[2]
        assert tag in names, f"{path}.{tag} is unknown"
        member = names[tag]
        if isinstance(member, ListShape):
            for item in child:
                is_known(member.member, item, f"{path}.{tag}[]")
        else:
            is_known(member, child, f"{path}.{tag}")
