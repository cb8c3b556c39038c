"""Where model archives come from, and a local directory that stands for the S3 prefix ``ModelDataUrl``."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader, FileIO
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from emulator.archives.model_data_url import S3Url, slash_missing
from emulator.errors import AwsError, ServiceUnavailable, SetupError, archive_not_found
from emulator.open_files import EXHAUSTED, too_many
from emulator.storage.keys import RESERVED
from emulator.suggestions import did_you_mean

# Of an archive; another one means that it has changed. Of a file: modification time in nanoseconds, size in bytes.
# Of an object in S3: its entity tag.
Version = tuple[int, int] | str

LOOKED_AT = 300  # names, when one that is not there is asked for: each time takes some milliseconds
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


class DirectorySource:
    """A directory of archives. Their paths below it are the keys: a prefix and the TargetModel, put together.

    The directory may be one of S3's buckets, hold all of them, or be part of one: what is an object there is an
    archive here. A link to a file counts, wherever it leads; one to a directory counts at the top only, where it may
    be a bucket. ``service/s3/keys.py`` says why.
    """

    is_remote = False

    def __init__(self, directory: Path, url: S3Url | None = None) -> None:
        """``url`` has the bucket's name, if that is not the directory's, and the prefix."""
        self.directory = directory.resolve()
        url = url or S3Url(self.directory.name)
        self._bucket, self._prefix = url.bucket, url.key

    def check(self) -> None:
        """The directory may come later."""

    @contextmanager
    def open(self, target_model: str) -> Iterator[tuple[BufferedReader[Any], Version]]:
        """The archive's file.

        Raises ValidationError as SageMaker does when S3 has no such object. That includes what
        cannot be an object of this directory: absolute paths, ``..`` and directories.
        """
        self._stat(target_model)
        try:
            file = FileIO(self.directory / self._key(target_model))
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise ServiceUnavailable(f"{too_many()}.") from None
            # deleted a moment ago, or not readable
            raise self._not_found(target_model)  # noqa: B904 - it has a cause of its own
        with BufferedReader(file, OPENED_WITH) as archive:
            yield archive, _version(os.fstat(file.fileno()))

    def version(self, target_model: str) -> Version:
        """What changes when the archive changes. Raises ValidationError if there is none."""
        return _version(self._stat(target_model))

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of every file here. Hidden ones are left out: they are seldom archives."""
        return self._files(hidden=False)

    def objects(self) -> Iterator[str]:
        """What is left of the key of every file without the prefix."""
        return (name for name, _ in self._files(hidden=True))

    def _files(self, hidden: bool) -> Iterator[tuple[str, int]]:
        folder, slash, start = self._prefix.rpartition("/")
        if slash and not _can_be_files(folder.split("/")):
            return
        for key, size in self._below(folder + slash, hidden, start):
            yield key[len(self._prefix) :], size

    def _below(self, folder: str, hidden: bool, start: str = "") -> Iterator[tuple[str, int]]:
        """Key and size of every file in a folder whose name there begins so."""
        try:
            with os.scandir(self.directory / folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError:  # deleted since, or closed to us
            return
        for entry in entries:
            if (
                not entry.name.startswith(start)
                or entry.name == RESERVED
                or (entry.name.startswith(".") and not hidden)
            ):
                continue
            with suppress(OSError, UnicodeError):  # deleted since; not UTF-8, so that no key can say it
                entry.name.encode()
                if entry.is_dir(follow_symlinks=not folder):
                    yield from self._below(f"{folder}{entry.name}/", hidden)
                elif entry.is_file():
                    yield folder + entry.name, entry.stat().st_size

    def close(self) -> None:
        """A file needs no breaking off: nothing keeps it waiting."""

    def _stat(self, target_model: str) -> os.stat_result:
        # S3 keys are compared letter by letter: what a file system would tidy up is another key there.
        key = self._key(target_model)
        top, *below = parts = key.split("/")
        if not _can_be_files(parts):
            raise self._not_found(target_model)
        try:
            parent = Path(os.path.realpath(self.directory / top), *below).parent
            if below and os.path.realpath(parent) != str(parent):  # by a link to a directory
                raise self._not_found(target_model)
            found = os.stat(self.directory / key)
        except (OSError, ValueError):
            raise self._not_found(target_model)  # noqa: B904 - it has a cause of its own
        if not stat.S_ISREG(found.st_mode):
            raise self._not_found(target_model)
        return found

    def _key(self, target_model: str) -> str:
        return self._prefix + target_model

    def _not_found(self, target_model: str) -> AwsError:
        error = archive_not_found(self._bucket, self._key(target_model))
        error.__cause__ = slash_missing(self._prefix, target_model) or self._near_miss(target_model)
        return error

    def _near_miss(self, target_model: str) -> SetupError | None:
        """What to do about an archive that is not there, if another one has nearly that name."""
        names = [name for name, _ in islice(self.archives(), LOOKED_AT)]
        whole = f"{target_model}.tar.gz"
        advice = did_you_mean(whole if whole in names else target_model, names)
        return SetupError(f"There is no object {self._key(target_model)}: {advice}") if advice else None


def _can_be_files(parts: Iterable[str]) -> bool:
    """Whether the parts of a key between its slashes can be names of files."""
    return not any(part in ("", ".", "..", RESERVED) for part in parts)


def _version(found: os.stat_result) -> Version:
    return found.st_mtime_ns, found.st_size
