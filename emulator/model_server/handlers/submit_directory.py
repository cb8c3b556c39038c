"""The code that ``SAGEMAKER_SUBMIT_DIRECTORY`` names: a directory or an archive, on this machine or in S3.

SageMaker's Python SDK uploads a model's code there, and names its file by ``SAGEMAKER_PROGRAM``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator

_FETCHED = "LOCALMME_SUBMIT_DIRECTORY"  # where it is on this machine
_MODEL_DIR = "/opt/ml/model/"  # where a single model is in a container
# In a process of its own, so that what it takes is not in every worker.
_DOWNLOAD = "import boto3, sys; boto3.client('s3').download_file(*sys.argv[1:])"


def path() -> str | None:
    """Where the code is on this machine; None = there is none."""
    return os.environ.get(_FETCHED)


@contextlib.contextmanager
def fetched() -> Iterator[None]:
    """Have the code on this machine within the block, for this process and those that it forks.

    Raises SystemExit, with a message, when it cannot be fetched.
    """
    location = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if location.startswith(_MODEL_DIR) and "SM_MODEL_DIR" in os.environ:
        location = os.path.join(os.environ["SM_MODEL_DIR"], location.removeprefix(_MODEL_DIR))
    if os.path.isdir(location):
        os.environ[_FETCHED] = os.path.abspath(location)
    elif location.startswith("s3://") or os.path.isfile(location):
        # Workers end within the block, too: only the process that made the directory removes it.
        owner, directory = os.getpid(), tempfile.mkdtemp(prefix="localmme-code-")
        try:
            _fetch(location, directory)
            os.environ[_FETCHED] = directory
            yield
        finally:
            if os.getpid() == owner:
                shutil.rmtree(directory, ignore_errors=True)
        return
    elif location:
        sys.stderr.write(f"SAGEMAKER_SUBMIT_DIRECTORY is ignored: there is no {location} here.\n")
    yield


def _fetch(location: str, directory: str) -> None:
    """Extract an archive into a directory. Raises SystemExit."""
    try:
        if not location.startswith("s3://"):
            _extract(location, directory)
            return
        with tempfile.NamedTemporaryFile(prefix="localmme-code-") as file:
            bucket, _, key = location.removeprefix("s3://").partition("/")
            command = [sys.executable, "-c", _DOWNLOAD, bucket, key, file.name]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise OSError(done.stderr.strip().rpartition("\n")[2])
            _extract(file.name, directory)
    except (OSError, tarfile.TarError) as error:
        raise SystemExit(f"SAGEMAKER_SUBMIT_DIRECTORY={location} cannot be fetched: {error}") from None


def _extract(file: str, directory: str) -> None:
    with tarfile.open(file) as archive:
        # Python 3.10 and 3.11 have the filter since their later patch releases.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        archive.extractall(directory)
