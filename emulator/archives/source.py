"""The interface to model archives, in a local directory (directory_source) or in real S3 (s3_source)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BufferedReader
from typing import Any, Protocol

# Of an archive; another one means that it has changed. Of a file: modification time in nanoseconds, size in bytes.
# Of an object in S3: its entity tag.
Version = tuple[int, int] | str

OPENED_WITH = 256 * 1024  # bytes of buffer


class ModelSource(Protocol):
    """The archives below a prefix; a TargetModel is the rest of an archive's key. All calls block."""

    is_remote: bool  # whether each call takes time, and may cost money

    def check(self) -> None:
        """Check that the place can be used. Raises SetupError, with a remedy."""

    def open(self, target_model: str) -> AbstractContextManager[tuple[BufferedReader[Any], Version]]:
        """The archive's bytes, and its version. Raises SageMaker's AwsError if the archive does not exist."""

    def version(self, target_model: str) -> Version:
        """A value that changes with the archive. Raises AwsError if the archive does not exist."""

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of all archives. Raises SetupError."""

    def objects(self) -> Iterator[str]:
        """The keys of all objects below the prefix, relative to it. Raises SetupError."""

    def close(self) -> None:
        """Cancel all reads under way. May be called at any time, by any thread."""
