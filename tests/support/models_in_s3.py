"""Models in S3: their archives, and the environment of an emulator that is to find them there."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

MEGABYTE = 1 << 20
# Nothing of whoever runs the tests: neither settings nor credentials.
NOTHING = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SESSION_TOKEN": "",
    "AWS_MAX_ATTEMPTS": "2",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "placeholder", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_REGION": "us-east-1"}


def settings(url: str) -> dict[str, str]:
    """The environment of someone whose S3 is there."""
    return {**NOTHING, **CREDENTIALS, "AWS_ENDPOINT_URL_S3": url}


def packed(answer: str) -> bytes:
    """A model archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("answer.txt")
        member.size = len(answer)
        tar.addfile(member, io.BytesIO(answer.encode()))
    return buffer.getvalue()


def large(megabytes: int, answer: str = "large") -> bytes:
    """A model archive that is as long as what is in it."""
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", compresslevel=0) as zipped, tarfile.open(fileobj=zipped, mode="w|") as tar:
        for name, data in (("weights", bytes(megabytes * MEGABYTE)), ("answer.txt", answer.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
