"""The same calls to our S3 and to moto's: the same answers, apart from what is listed here."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.s3_servers import S3Server, client

moto_server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.real

# No key is the directory of another one, which a file system cannot have.
KEYS = ["a", "a.b", "a-b", "dir/a", "dir/b", "dir/sub/c", "dir-2/a", "dir.3", "folder/", "folder/x", "é/ü",
        "s p+c&<'\">", ".hidden", "z/.h/%2F", "~"]  # fmt: skip
BODIES = [b"", b"x", b"0123456789" * 3]

keys = st.sampled_from(KEYS)
plain_keys = st.sampled_from([key for key in KEYS if not key.endswith("/")])
prefixes = st.sampled_from(["", "a", "d", "dir", "dir/", "dir/s", "folder/", "é/", "none", "z/."])
ranges = st.sampled_from(["bytes=0-0", "bytes=5-9", "bytes=20-", "bytes=-4", "bytes=0-999", "bytes=900-", "bytes=-0"])
ETAGS = ['"9dd4e461268c8034f5c8564e155c67a6"', '"d41d8cd98f00b204e9800998ecf8427e"', '"none"']  # of x, of nothing
conditions = st.sampled_from([{}, {}, {}, *({name: tag} for name in ("IfMatch", "IfNoneMatch") for tag in ETAGS)])


def call(name: str, **arguments: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries(
        {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in arguments.items()}
    ).map(lambda drawn: (name, {k: v for k, v in drawn.items() if v is not None}))


def merged(drawn: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """``more`` are arguments as well."""
    name, arguments = drawn
    return name, {**{k: v for k, v in arguments.items() if k != "more"}, **arguments.get("more", {})}


attributes = st.sampled_from(
    [
        {},
        {"ContentType": "text/plain", "Metadata": {"who": "me", "n": "1"}},
        {"CacheControl": "no-cache", "ContentDisposition": 'attachment; filename="x"', "ContentEncoding": "gzip"},
        {"StorageClass": "STANDARD_IA", "ContentLanguage": "en"},
    ]
)
# Where a listing begins, and a delimiter, are not combined: moto compares common prefixes with the key to begin after,
# S3 the keys that they stand for. Nor are pages of version 1 and a delimiter: moto does not count prefixes there.
listing = {
    "Prefix": prefixes,
    "Delimiter": st.sampled_from([None, "/", "/", "b", "-"]),
    "MaxKeys": st.sampled_from([None, 1, 2, 3, 1000]),
}
calls = st.one_of(
    call("put_object", Key=plain_keys, Body=st.sampled_from(BODIES), more=attributes).map(merged),
    call("put_object", Key=plain_keys, Body=st.sampled_from(BODIES)),
    call("put_object", Key="folder/", Body=b""),
    call("put_object", Key=plain_keys, Body=b"new", IfNoneMatch="*"),
    call("get_object", Key=keys, Range=st.one_of(st.none(), ranges)),
    call("get_object", Key=keys, more=conditions).map(merged),
    call("get_object", Key=plain_keys, ResponseContentType="a/b", ResponseCacheControl="private"),
    call("head_object", Key=keys, more=conditions).map(merged),
    call("delete_object", Key=keys),
    call("delete_objects", Delete=st.lists(keys, min_size=1, max_size=4, unique=True).map(
        lambda chosen: {"Objects": [{"Key": key} for key in chosen]})),
    call("copy_object", Key=plain_keys, source=plain_keys, more=st.sampled_from(
        [{}, {"MetadataDirective": "REPLACE", "Metadata": {"copied": "yes"}, "ContentType": "c/d"}])).map(merged),
    call("list_objects_v2", **listing),
    call("list_objects_v2", StartAfter=keys, Prefix=prefixes),
    call("list_objects", Prefix=prefixes, Delimiter=listing["Delimiter"]),
    call("list_objects", Marker=plain_keys, Prefix=prefixes, MaxKeys=listing["MaxKeys"]),
    call("pages", version="list_objects_v2", **listing),
    call("pages", version="list_objects", Prefix=prefixes, MaxKeys=listing["MaxKeys"]),
    call("multipart", Key=plain_keys, bodies=st.lists(st.sampled_from(BODIES[1:]), min_size=1, max_size=2)),
    call("get_object_tagging", Key=plain_keys),
    call("head_bucket"),
    call("get_bucket_location"),
    call("list_multipart_uploads"),
    call("delete_bucket"),
)  # fmt: skip
numbers = itertools.count()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    directory: Path = tmp_path_factory.mktemp("s3")
    ours = S3Server(directory / "s3", directory / "state")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    theirs = moto_server.ThreadedMotoServer(port=0, verbose=False)
    theirs.start()
    _, port = theirs.get_host_and_port()
    yield ours.client, client(f"http://127.0.0.1:{port}")
    theirs.stop()
    ours.stop()


@settings(max_examples=60)
@given(there=st.sets(keys), sequence=st.lists(calls, min_size=1, max_size=14))
def test_the_same_calls_have_the_same_answers(
    both: tuple[Any, Any], there: set[str], sequence: list[tuple[str, dict[str, Any]]]
) -> None:
    bucket = f"bucket-{next(numbers)}"
    for one in both:
        one.create_bucket(Bucket=bucket)
        for key in sorted(there):
            one.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else key.encode())
    for name, arguments in sequence:
        ours, theirs = (comparable(name, arguments, answered(one, bucket, name, arguments)) for one in both)
        assert ours == theirs, (name, arguments)


def answered(s3: Any, bucket: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a call brings, or the error that it raises."""
    arguments = {"Bucket": bucket, **arguments}
    try:
        if name == "pages":
            return pages(s3, **arguments)
        if name == "multipart":
            return multipart(s3, **arguments)
        if name == "copy_object":
            arguments["CopySource"] = {"Bucket": bucket, "Key": arguments.pop("source")}
        answer = getattr(s3, name)(**arguments)
    except ClientError as error:
        return {
            "code": error.response["Error"]["Code"],
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
        }
    if "Body" in answer:
        answer["Body"] = answer["Body"].read()
    return answer


def pages(s3: Any, version: str, MaxKeys: int | None = None, **arguments: Any) -> dict[str, Any]:
    """All keys and prefixes, page by page."""
    paginator = s3.get_paginator(version).paginate(PaginationConfig={"PageSize": MaxKeys or 1000}, **arguments)
    found: dict[str, Any] = {"pages": []}
    for page in paginator:
        contents = [(one["Key"], one["ETag"], one["Size"]) for one in page.get("Contents", [])]
        found["pages"].append((contents, [one["Prefix"] for one in page.get("CommonPrefixes", [])]))
    return found


def multipart(s3: Any, Bucket: str, Key: str, bodies: list[bytes]) -> dict[str, Any]:
    upload = s3.create_multipart_upload(Bucket=Bucket, Key=Key)["UploadId"]
    where = {"Bucket": Bucket, "Key": Key, "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    listed = [(part["PartNumber"], part["ETag"], part["Size"]) for part in s3.list_parts(**where)["Parts"]]
    try:
        done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    finally:
        if len(bodies) > 1:  # these are too small
            s3.abort_multipart_upload(**where)
    return {"ETag": done["ETag"], "Key": done["Key"], "listed": listed}


def comparable(name: str, arguments: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs for a reason, which is said here."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", answer.get("status"))
    prefixes = [one["Prefix"] for one in answer.get("CommonPrefixes", [])]
    answer = {key: value for key, value in answer.items() if key not in ("ResponseMetadata", "CommonPrefixes")}
    if "Range" in arguments:
        answer.pop(
            "ChecksumCRC32", None
        )  # that of all is no help with a part; moto gives it if the range is all there is
    return {"status": status, "prefixes": prefixes, **without(answer)}


def without(value: Any) -> Any:
    if isinstance(value, list):
        return [without(one) for one in value]
    if isinstance(value, dict):
        return {key: without(one) for key, one in value.items() if key not in DIFFERENT}
    return value


DIFFERENT = {
    "LastModified",
    "Initiated",
    "NextContinuationToken",  # each has its own
    "NextMarker",  # moto makes one up where S3 says none
    "Owner",  # each has its own
    "ChecksumAlgorithm",  # moto does not list it
    "ChecksumType",  # moto says it of multipart uploads only
    "Marker",  # moto leaves it out if it is empty
    "Prefix",  # moto leaves it out if it is empty, and does not encode it
    "StartAfter",  # moto does not encode it
}
