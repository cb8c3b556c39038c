"""Whatever the storage or the disk refuses, S3 has an error for it."""

from __future__ import annotations

import errno
import inspect
import os

import pytest

from emulator.services.s3.storage_errors import s3_error
from emulator.storage import errors
from emulator.storage.errors import StorageError

REFUSALS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def made(kind: type[StorageError], **arguments: object) -> StorageError:
    """An error of this kind, with something for each of its fields."""
    fields = inspect.signature(kind).parameters.values()
    values = {field.name: 7 if field.annotation == "int" else field.name for field in fields}
    return kind(**{**values, **arguments})


@pytest.mark.parametrize("kind", [kind for kind in REFUSALS if kind is not StorageError])
def test_every_refusal_of_the_storage_has_a_code_and_a_status(kind: type[StorageError]) -> None:
    answer = s3_error(made(kind))
    assert 400 <= answer.status < 500 and answer.code and answer.message


@pytest.mark.parametrize(
    "error, status, code, message",
    [
        (made(errors.NoSuchBucket), 404, "NoSuchBucket", "The specified bucket does not exist"),
        (made(errors.BucketExists), 409, "BucketAlreadyOwnedByYou", "you already own it"),
        (made(errors.BucketNotEmpty), 409, "BucketNotEmpty", "is not empty"),
        (made(errors.InvalidBucketName, why=""), 400, "InvalidBucketName", "The specified bucket is not valid."),
        (made(errors.NoSuchKey), 404, "NoSuchKey", "The specified key does not exist."),
        (made(errors.KeyTooLong), 400, "KeyTooLongError", "Your key is too long"),
        (made(errors.NameTooLong, why="so"), 400, "InvalidArgument", "This key cannot be a file: so."),
        (made(errors.InvalidKey, why="so"), 400, "InvalidArgument", "This key cannot be a file: so."),
        (made(errors.InvalidChecksum, algorithm="md5"), 400, "InvalidDigest", "Content-MD5"),
        (
            made(errors.InvalidChecksum, algorithm="crc32"),
            400,
            "InvalidRequest",
            "Value for x-amz-checksum-crc32 header",
        ),
        (made(errors.ChecksumMismatch, algorithm="md5"), 400, "BadDigest", "Content-MD5"),
        (made(errors.ChecksumMismatch, algorithm="crc32"), 400, "BadDigest", "The CRC32 you specified did not match"),
        (made(errors.ContentHashMismatch), 400, "XAmzContentSHA256Mismatch", "x-amz-content-sha256"),
        (made(errors.NoSuchUpload), 404, "NoSuchUpload", "The specified upload does not exist."),
        (made(errors.InvalidPart), 400, "InvalidPart", "could not be found."),
        (made(errors.InvalidPartOrder), 400, "InvalidPartOrder", "not in ascending order"),
        (made(errors.PartTooSmall), 400, "EntityTooSmall", "smaller than the minimum"),
        *(
            (OSError(number, os.strerror(number)), status, code, words)
            for number, status, code, words in [
                (errno.ENOSPC, 507, "InsufficientStorage", "No space left on device"),
                (errno.EDQUOT, 507, "InsufficientStorage", "has no room"),
                (errno.EMFILE, 503, "SlowDown", "ulimit -n"),
                (errno.EACCES, 403, "AccessDenied", "Permission denied"),
                (errno.EROFS, 403, "AccessDenied", "Read-only file system"),
                (errno.EIO, 500, "InternalError", "The file system failed"),
            ]
        ),
    ],
)
def test_it_is_answered_in_the_words_of_s3(error: StorageError | OSError, status: int, code: str, message: str) -> None:
    answer = s3_error(error)
    assert (answer.status, answer.code) == (status, code)
    assert message in answer.message
