"""What a call of the S3 API is made of, on its way in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from emulator.services.s3.aws_chunked import Signatures
from emulator.storage.checksums import ExpectedDigests
from emulator.storage.incoming_file import IncomingFile
from emulator.storage.multipart_uploads import MultipartUploads
from emulator.storage.object_store import ObjectStore

Headers = list[tuple[str, str]]


def _anyone_may(action: str, bucket: str, key: str) -> None: ...


@dataclass
class S3Call:
    """One request, and the store that it is about. ``body`` is there for operations that take a document."""

    store: ObjectStore
    uploads: MultipartUploads
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    region: str = ""  # that the request is signed for
    body: bytes = b""
    check_key: Callable[[str, str, str], None] = _anyone_may  # action, bucket, key; raises AccessDenied
    chunk_signatures: Signatures | None = None  # of an aws-chunked body, to be verified


@dataclass
class S3Answer:
    """``file`` goes out instead of ``body``: ``count`` bytes from ``start``; whoever sends it closes it."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    count: int = 0


@dataclass
class Sink:
    """Where the data of a call goes as it comes; ``finish`` answers when all of it has come and is as expected."""

    incoming: IncomingFile
    expected: ExpectedDigests
    finish: Callable[[], S3Answer]


def xml(body: bytes, status: int = 200, headers: Headers | None = None) -> S3Answer:
    return S3Answer(status, [("Content-Type", "application/xml"), *(headers or [])], body)
