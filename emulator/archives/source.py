"""Where model archives come from: the interface of a local directory (directory_source) and of real S3 (s3_source)."""

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

    is_remote: bool  # whether each question takes its time, and may cost money

    def check(self) -> None:
        """Look whether there is such a place. Raises SetupError, with what to do, if it is of no use."""

    def open(self, target_model: str) -> AbstractContextManager[tuple[BufferedReader[Any], Version]]:
        """The archive's bytes, and its version. Raises the AwsError that SageMaker answers with if there is none."""

    def version(self, target_model: str) -> Version:
        """What changes when the archive changes. Raises AwsError if there is none."""

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of all that is there. Raises SetupError."""

    def objects(self) -> Iterator[str]:
        """What is left of the keys of all objects without the prefix. Raises SetupError."""

    def close(self) -> None:
        """Break off what is being read. May be called at any time, by any thread."""
