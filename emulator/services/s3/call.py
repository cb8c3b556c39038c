"""An operation's request and response, as the operations of the S3 API see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from emulator.services.s3.aws_chunked import Signatures
from emulator.storage.checksums import ExpectedDigests
from emulator.storage.incoming_file import IncomingFile
from emulator.storage.listing import ListingPage
from emulator.storage.multipart_uploads import MultipartUploads
from emulator.storage.object_store import ObjectStore, StoredObject
from emulator.storage.read_through import ReadThrough

Headers = list[tuple[str, str]]


def _anyone_may(action: str, bucket: str, key: str) -> None: ...


@dataclass
class S3Call:
    """One request, and the store that it works on. Only operations that take a document have a ``body``."""

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
    read_through: ReadThrough | None = None  # what the store lacks

    def entry(self) -> StoredObject:
        """The record of the object, which need not be here. Raises NoSuchKey, RealS3Refused, RealS3Unavailable."""
        return (self.read_through or self.store).entry(self.bucket, self.key)

    def listing(self, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
        """See ``ObjectStore.listing``. Raises RealS3Refused, RealS3Unavailable."""
        return (self.read_through or self.store).listing(self.bucket, prefix, delimiter, after, limit)


@dataclass
class S3Answer:
    """With ``file``, its ``count`` bytes from ``start`` are sent instead of ``body``; the sender closes it."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    count: int = 0


@dataclass
class UploadSink:
    """Where an upload's data is written; ``finish`` makes the response when all data is there and verified."""

    incoming: IncomingFile
    expected: ExpectedDigests
    finish: Callable[[], S3Answer]


def xml(body: bytes, status: int = 200, headers: Headers | None = None) -> S3Answer:
    return S3Answer(status, [("Content-Type", "application/xml"), *(headers or [])], body)
