"""Where model archives come from: a local directory that stands for the S3 prefix ``ModelDataUrl``."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from emulator.errors import AwsError, archive_not_found

Version = tuple[int, int]  # modification time in nanoseconds, size in bytes


class LocalBucket:
    """A directory of archives. A TargetModel is a path below it, as it is a key below the prefix in S3."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    def locate(self, target_model: str) -> Path:
        """The archive's path.

        Raises ValidationError as SageMaker does when S3 has no such object. That includes what
        cannot be an object of this directory: absolute paths, ``..`` and directories.
        """
        self._stat(target_model)
        return self.directory / target_model

    def version(self, target_model: str) -> Version:
        """What changes when the archive changes. Raises ValidationError if there is none."""
        found = self._stat(target_model)
        return found.st_mtime_ns, found.st_size

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of every file here, hidden ones apart."""
        for folder, folders, files in os.walk(self.directory, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    path = Path(folder, name)
                    try:
                        yield path.relative_to(self.directory).as_posix(), path.stat().st_size
                    except FileNotFoundError:  # deleted since, or a dangling link
                        continue

    def _stat(self, target_model: str) -> os.stat_result:
        # S3 keys are compared letter by letter: what a file system would tidy up is another key there.
        if any(part in ("", ".", "..") for part in target_model.split("/")):
            raise self._not_found(target_model)
        try:
            found = os.stat(self.directory / target_model)
        except (OSError, ValueError):
            raise self._not_found(target_model) from None
        if not stat.S_ISREG(found.st_mode):
            raise self._not_found(target_model)
        return found

    def _not_found(self, target_model: str) -> AwsError:
        return archive_not_found(self.directory.name, target_model)
