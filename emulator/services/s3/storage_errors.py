"""Errors of the storage and its disk as S3's errors: the only place with the code and status of each. [api]"""

from __future__ import annotations

import errno

from emulator.aws.errors import AwsError
from emulator.open_files import EXHAUSTED, too_many
from emulator.services.s3.errors import invalid_argument, invalid_request
from emulator.storage import errors
from emulator.storage.checksums import HEADER


def s3_error(error: errors.StorageError | OSError) -> AwsError:
    """The S3 error for an error of the storage."""
    return _of_the_disk(error) if isinstance(error, OSError) else _of_the_storage(error)


def _of_the_storage(error: errors.StorageError) -> AwsError:
    match error:
        case errors.NoSuchBucket(bucket=bucket):
            return AwsError("NoSuchBucket", 404, "The specified bucket does not exist", BucketName=bucket)
        case errors.BucketExists(bucket=bucket):
            return AwsError(
                "BucketAlreadyOwnedByYou",
                409,
                "Your previous request to create the named bucket succeeded and you already own it.",
                BucketName=bucket,
            )
        case errors.BucketNotEmpty(bucket=bucket):
            return AwsError("BucketNotEmpty", 409, "The bucket you tried to delete is not empty", BucketName=bucket)
        case errors.InvalidBucketName(bucket=bucket, why=why):
            message = f"The specified bucket is not valid. {why}".rstrip()
            return AwsError("InvalidBucketName", 400, message, BucketName=bucket)
        case errors.NoSuchKey(key=key):
            return AwsError("NoSuchKey", 404, "The specified key does not exist.", Key=key)
        case errors.KeyTooLong(size=size, limit=limit):
            return AwsError("KeyTooLongError", 400, "Your key is too long", Size=size, MaxSizeAllowed=limit)
        case errors.InvalidKey(key=key, why=why):  # ours: S3 takes every key, a file system does not
            return invalid_argument(f"This key cannot be a file: {why}.", "key", key)
        case errors.InvalidChecksum(algorithm="md5"):
            return AwsError("InvalidDigest", 400, "The Content-MD5 you specified was invalid.")
        case errors.InvalidChecksum(algorithm=algorithm):
            return invalid_request(f"Value for {HEADER}{algorithm} header is invalid.")
        case errors.ChecksumMismatch(algorithm="md5"):
            return AwsError("BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
        case errors.ChecksumMismatch(algorithm=algorithm):
            message = f"The {algorithm.upper()} you specified did not match the calculated checksum."
            return AwsError("BadDigest", 400, message)
        case errors.ContentHashMismatch(expected=expected, computed=computed):
            return AwsError(
                "XAmzContentSHA256Mismatch",
                400,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=expected,
                S3ComputedContentSHA256=computed,
            )
        case errors.RealS3Refused():
            return AwsError("AccessDenied", 403, str(error))
        case errors.RealS3Unavailable():  # [ours] a status that SDKs do not try again
            return AwsError("RealS3Unavailable", 424, str(error))
        case errors.NoSuchUpload(upload_id=upload_id):
            return AwsError(
                "NoSuchUpload",
                404,
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
                "aborted or completed.",
                UploadId=upload_id,
            )
        case errors.InvalidPart(upload_id=upload_id, number=number, etag=etag):
            return AwsError(
                "InvalidPart",
                400,
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
                UploadId=upload_id,
                PartNumber=number,
                ETag=etag,
            )
        case errors.InvalidPartOrder(upload_id=upload_id):
            return AwsError(
                "InvalidPartOrder",
                400,
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
                UploadId=upload_id,
            )
        case errors.PartTooSmall(number=number, etag=etag, size=size, limit=limit):
            return AwsError(
                "EntityTooSmall",
                400,
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=size,
                MinSizeAllowed=limit,
                PartNumber=number,
                ETag=etag,
            )
    raise NotImplementedError(type(error).__name__)


def _of_the_disk(error: OSError) -> AwsError:
    """Ours: the S3 error for a file system that refuses to write.

    507, because SDKs do not try that status again: another try would not help.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return AwsError("InsufficientStorage", 507, f"The disk of the S3 directory has no room: {error.strerror}.")
    if error.errno in EXHAUSTED:
        return AwsError("SlowDown", 503, f"{too_many()}.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AwsError("AccessDenied", 403, f"The S3 directory does not allow that: {error.strerror}.")
    return AwsError("InternalError", 500, f"The file system failed: {error.strerror}.")
