"""Reads model archives from a local directory, which stands for the S3 prefix ``ModelDataUrl``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import contextmanager
from functools import cached_property
from io import BufferedReader, FileIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any, cast

from emulator.archives.errors import ArchiveNotFound, ArchiveUnavailable
from emulator.archives.model_data_url import S3Url, slash_missing
from emulator.archives.source import OPENED_WITH, Version
from emulator.archives.unpacked_archive import SUFFIX, UnpackedArchive
from emulator.aws.errors import too_many_open_files
from emulator.errors import ArchiveError, SetupError
from emulator.open_files import EXHAUSTED
from emulator.storage.errors import NoSuchBucket, NoSuchKey, RealS3Refused, StorageError
from emulator.storage.listing import KeyTree
from emulator.storage.object_files import existing_directory, open_file, stat_file
from emulator.storage.object_records import version_of
from emulator.storage.read_through import ReadThrough
from emulator.suggestions import did_you_mean

LOOKED_AT = 300  # names, to find one similar to a missing one: that takes some milliseconds


class DirectorySource:
    """A directory of archives. Their paths below it are the keys: a prefix and the TargetModel, put together.

    A directory without a URL may be one of S3's buckets, hold all of them, or be part of one.

    A directory whose name is an archive's stands for that archive, see ``UnpackedArchive``. It is no object of S3: what
    is in it are objects, as in any other directory.
    """

    is_remote = False

    def __init__(
        self,
        directory: Path,
        url: S3Url | None = None,
        *,
        unpacked: bool = False,
        read_through: ReadThrough | None = None,
    ) -> None:
        """``url``: the directory is its bucket, and the archives are those with its prefix. ``unpacked``: a directory
        NAME directly in it stands for the archive NAME.tar.gz as well. ``read_through``: what the bucket does not have
        is brought there from real S3, if it is one of those."""
        self._directory, self._url, self._unpacked = directory, url, unpacked
        self._read_through = read_through
        self._closed: Future[None] = Future()
        self._holds_buckets = url is None
        self._prefix = "" if url is None else url.key

    @cached_property
    def directory(self) -> Path:
        """The directory, without symbolic links."""
        return self._directory.resolve()

    def check(self) -> None:
        """Raises SetupError when two things stand for one archive. The directory may be created later."""
        if not self._unpacked or not self.directory.is_dir():
            return
        try:
            for name in sorted(os.listdir(self.directory)):
                self._unpacked_archive(f"{name}{SUFFIX}")
        except ArchiveError as error:
            raise SetupError(f"{self.directory}: {error}") from None

    @contextmanager
    def open(self, target_model: str) -> Iterator[tuple[BufferedReader[Any], Version]]:
        """The archive's file, or a directory's content as an archive.

        Raises ArchiveNotFound when there is none. That includes what cannot be an object of this directory: absolute
        paths and ``..``. Raises ArchiveError when there are two.
        """
        if unpacked := self._unpacked_archive(target_model):
            version = unpacked.version()  # before it is read: a change that is not read as a whole is seen afterwards
            with unpacked.open() as archive:
                yield archive, version
            return
        self._bring(target_model)
        try:
            file = open_file(self.directory, self._key(target_model), holds_buckets=self._holds_buckets)
        except (NoSuchKey, OSError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise too_many_open_files() from None
            raise self._not_found(target_model)  # noqa: B904 - it has a cause of its own
        with BufferedReader(cast(FileIO, file), OPENED_WITH) as archive:
            yield archive, version_of(os.fstat(file.fileno()))

    def version(self, target_model: str) -> Version:
        """A value that changes with the archive. Raises what ``open`` raises."""
        if unpacked := self._unpacked_archive(target_model):
            return unpacked.version()
        self._bring(target_model)
        try:
            return version_of(stat_file(self.directory, self._key(target_model), holds_buckets=self._holds_buckets))
        except NoSuchKey:
            raise self._not_found(target_model)  # noqa: B904 - it has a cause of its own

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of every file here, of all together in a directory that stands for an archive.

        Hidden files are left out: they are seldom archives.
        """
        files = self._files(hidden=False) if not self.is_read_through else self._objects_of_real_s3()
        for target_model, belonging in groupby(files, lambda found: self._archive_with(found[0])):
            yield target_model, sum(size for _, size in belonging)

    def objects(self) -> Iterator[str]:
        """The keys of all files below the prefix, relative to it. Raises SetupError."""
        files = self._files(hidden=True) if not self.is_read_through else self._objects_of_real_s3()
        return (name for name, _ in files)

    def close(self) -> None:
        """End the wait for what is brought from real S3. Reading a file does not wait."""
        with contextlib.suppress(InvalidStateError):  # closed already
            self._closed.set_result(None)

    @property
    def is_read_through(self) -> bool:
        """Whether its bucket is one of real S3 that is read through."""
        return self._read_through is not None and self._url is not None and self._read_through.covers(self._url.bucket)

    def _bring(self, target_model: str) -> None:
        """Bring the archive here if it is in real S3. Raises ArchiveNotFound, ArchiveUnavailable."""
        if self._read_through is None or self._url is None:
            return
        key = self._key(target_model)
        try:
            download = self._read_through.bring(self._url.bucket, key)
            if download is not None:
                wait([download, self._closed], return_when=FIRST_COMPLETED)
                if self._closed.done():
                    raise ArchiveUnavailable("The emulator does not need it any more.")
                download.result()
        except RealS3Refused as error:
            not_found = ArchiveNotFound(self._url.bucket, key)
            not_found.__cause__ = SetupError(str(error))
            raise not_found from not_found.__cause__
        except OSError as error:
            raise ArchiveUnavailable(
                f"s3://{self._url.bucket}/{key} cannot be kept in {self.directory}: {error.strerror}."
            ) from None
        except StorageError as error:
            raise ArchiveUnavailable(str(error)) from None

    def _objects_of_real_s3(self) -> Iterator[tuple[str, int]]:
        """All objects below the prefix, here and in real S3. Raises SetupError."""
        assert self._read_through is not None and self._url is not None
        try:
            for found in self._read_through.objects(self._url.bucket, self._prefix):
                if not found.key.endswith("/"):
                    yield found.key[len(self._prefix) :], found.size
        except NoSuchBucket:  # as a directory that is missing
            return
        except StorageError as error:
            raise SetupError(str(error)) from None

    def _files(self, hidden: bool) -> Iterator[tuple[str, int]]:
        tree = KeyTree(self.directory, hidden=hidden, holds_buckets=self._holds_buckets)
        try:
            for found in tree.keys(self._prefix, after=""):
                yield found.key[len(self._prefix) :], found.version[1]
        except OSError:  # too many files are open
            return

    def _archive_with(self, name: str) -> str:
        """The TargetModel that a file belongs to, by its name below the prefix."""
        if self._unpacked and "/" in name:
            return name.partition("/")[0].removesuffix(SUFFIX) + SUFFIX
        archive, _, below = name.partition(f"{SUFFIX}/")
        return archive + SUFFIX if below else name

    def _unpacked_archive(self, target_model: str) -> UnpackedArchive | None:
        """The directory that stands for an archive. Raises ArchiveError when something else does as well."""
        if not target_model.endswith(SUFFIX):
            return None
        found = self._directory_of(target_model)
        if self._unpacked and "/" not in target_model and not target_model.startswith("."):
            beside = self._directory_of(target_model.removesuffix(SUFFIX))
            if beside is not None and os.path.lexists(self.directory / target_model):
                both = f"{beside.name} and {target_model} both stand for {target_model}"
                raise ArchiveError(f"{both}: delete one, or move it.")
            found = found or beside
        return UnpackedArchive(found) if found else None

    def _directory_of(self, name: str) -> Path | None:
        return existing_directory(self.directory, self._key(name), holds_buckets=self._holds_buckets)

    def _key(self, target_model: str) -> str:
        return self._prefix + target_model

    def _not_found(self, target_model: str) -> ArchiveNotFound:
        error = ArchiveNotFound(self._url.bucket if self._url else self.directory.name, self._key(target_model))
        error.__cause__ = slash_missing(self._prefix, target_model) or self._near_miss(target_model)
        return error

    def _near_miss(self, target_model: str) -> SetupError | None:
        """Advice for a missing archive: a directory of its name, or one with a similar name; may be empty."""
        key = self._key(target_model)
        if target_model.endswith(SUFFIX) and self._directory_of(target_model.removesuffix(SUFFIX)):
            return SetupError(
                f"There is no object {key}, but a directory {key.removesuffix(SUFFIX)}: pack it (localmme pack). Or "
                f"rename it to {key}, and it is served as it is."
            )
        files = islice(self._files(hidden=False), LOOKED_AT)
        names = [name for name, _ in groupby(files, lambda found: self._archive_with(found[0]))]
        whole = f"{target_model}.tar.gz"
        advice = did_you_mean(whole if whole in names else target_model, names)
        return SetupError(f"There is no object {key}: {advice}") if advice else None
