"""The errors of the S3 directory, without HTTP: the services above turn them into errors of their API.

What the disk refuses is an OSError, here as everywhere; it passes through.

StorageError
├── NoSuchBucket, BucketExists, BucketNotEmpty, InvalidBucketName
├── NoSuchKey
├── InvalidKey               a key that cannot be a file
│   ├── KeyTooLong           as a whole
│   └── NameTooLong          one of its parts
├── InvalidChecksum          what the caller sent cannot be a checksum
├── ChecksumMismatch         the data is not what the caller meant to send
├── ContentHashMismatch      the data does not have the SHA-256 in the request's signature
├── RealS3Refused            real S3 does not let this user read what is read through
├── RealS3Unavailable        real S3 cannot be reached, or failed
└── NoSuchUpload, InvalidPart, InvalidPartOrder, PartTooSmall
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.errors import EmulatorError


class StorageError(EmulatorError):
    """The root of the tree."""


@dataclass(eq=False)
class NoSuchBucket(StorageError):
    bucket: str


@dataclass(eq=False)
class BucketExists(StorageError):
    bucket: str


@dataclass(eq=False)
class BucketNotEmpty(StorageError):
    bucket: str


@dataclass(eq=False)
class InvalidBucketName(StorageError):
    bucket: str
    why: str = ""  # a sentence, where it is a choice of ours


@dataclass(eq=False)
class NoSuchKey(StorageError):
    key: str


@dataclass(eq=False)
class InvalidKey(StorageError):
    key: str
    why: str


@dataclass(eq=False)
class KeyTooLong(InvalidKey):
    size: int  # bytes in UTF-8
    limit: int


@dataclass(eq=False)
class NameTooLong(InvalidKey):
    pass


@dataclass(eq=False)
class InvalidChecksum(StorageError):
    algorithm: str


@dataclass(eq=False)
class ChecksumMismatch(StorageError):
    algorithm: str
    expected: str  # in base64
    computed: str


@dataclass(eq=False)
class ContentHashMismatch(StorageError):
    expected: str  # in hexadecimal digits
    computed: str


@dataclass(eq=False)
class RealS3Refused(StorageError):
    bucket: str
    key: str

    def __str__(self) -> str:
        return (
            f"Real S3 does not let s3://{self.bucket}/{self.key} be read, neither with AWS credentials of the user who "
            "runs the emulator nor without: there is no such object, or it is not public."
        )


@dataclass(eq=False)
class RealS3Unavailable(StorageError):
    why: str  # what is wrong and what to do, in sentences

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class NoSuchUpload(StorageError):
    upload_id: str


@dataclass(eq=False)
class InvalidPart(StorageError):
    upload_id: str
    number: int
    etag: str


@dataclass(eq=False)
class InvalidPartOrder(StorageError):
    upload_id: str


@dataclass(eq=False)
class PartTooSmall(StorageError):
    number: int
    etag: str
    size: int  # bytes
    limit: int
