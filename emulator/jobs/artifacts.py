"""What a training container has written, as objects in S3: archives of directories, or each file by itself."""

from __future__ import annotations

import itertools
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

from isal import isal_zlib

from emulator.archives.model_data_url import S3Url
from emulator.containers.output_files import OutputFile
from emulator.jobs.errors import upload_failed
from emulator.jobs.role_access import RoleAccess
from emulator.storage.errors import StorageError
from emulator.storage.object_store import ObjectStore
from emulator.tar_members import END, content, header

FAILURE_BYTES = 4096  # of UTF-8, in which 1,024 characters fit
FAILURE_CHARACTERS = 1024  # [dg] of the file, that FailureReason has
COMPRESSION = 1  # [ours] of 0 to 3, as this library counts: quick, as the archive is read once or twice
GZIP = 31  # as zlib's wbits


class Artifacts:
    """Stores what one job has written. All methods block, and raise JobFailed when S3 does not take it."""

    def __init__(self, store: ObjectStore, access: RoleAccess, most_bytes: int, warn: Callable[[str], None]) -> None:
        """``most_bytes`` may all files of one call have; ``warn`` takes what is left out."""
        self._store, self._access, self._most_bytes, self._warn = store, access, most_bytes, warn

    def store_archive(self, files: Iterable[OutputFile], url: S3Url) -> bool:
        """Store a tar.gz of these files; False, and no object, if there are none."""
        limited = self._limited(files)
        first = next(limited, None)
        if first is None:
            return False
        self._put(url, _gzipped(self._tar(itertools.chain([first], limited))))
        return True

    def store_each(self, files: Iterable[OutputFile], url: S3Url) -> bool:
        """Store each file as an object whose key is its name after that of ``url``; False if there are none.

        Links are left out.
        """
        stored = False
        for file in self._limited(files):
            if file.kind == "link":
                self._warn(f"{file.name} is a symbolic link, and not stored")
            elif file.content is not None:
                self._put(S3Url(url.bucket, url.key + file.name), _exactly(file.content, file.size))
                stored = True
        return stored

    def _put(self, url: S3Url, pieces: Iterable[bytes]) -> None:
        self._access.check_write(url.bucket, url.key)
        try:
            self._store.put(url.bucket, url.key, pieces)
        except StorageError as error:
            raise upload_failed(f"{url} cannot be stored: {_words(error)}") from None

    def _limited(self, files: Iterable[OutputFile]) -> Iterator[OutputFile]:
        left = self._most_bytes
        try:
            for file in files:
                left -= file.size
                if left < 0:
                    raise upload_failed("Insufficient disk space: there is more of it than the storage volume holds")
                yield file
        except OSError as error:
            raise upload_failed(f"its files cannot be read: {error.strerror or error}") from None

    def _tar(self, files: Iterable[OutputFile]) -> Iterator[bytes]:
        for file in files:
            if file.kind == "directory":
                yield header(f"{file.name}/", tarfile.DIRTYPE, file.mode & 0o777, time=file.modified)
            elif file.kind == "link":
                if _is_safe(file):
                    yield header(file.name, tarfile.SYMTYPE, 0o777, time=file.modified, link=file.link)
                else:
                    self._warn(f"{file.name} is a symbolic link that leads out of its directory, and not stored")
            elif file.content is not None:
                yield header(file.name, tarfile.REGTYPE, file.mode & 0o777, size=file.size, time=file.modified)
                try:
                    yield from content(file.content, file.size)
                except EOFError:
                    raise upload_failed(f"{file.name} became shorter while it was read") from None
        yield END


def split_output(files: Iterable[OutputFile], failure: list[str]) -> Iterator[OutputFile]:
    """Of the files below ``/opt/ml/output``, those below ``data``; the beginning of ``failure`` is appended there."""
    for file in files:
        if file.name.startswith("data/"):
            yield replace(file, name=file.name.removeprefix("data/"))
        elif file.name == "failure" and file.content is not None:
            failure.append(file.content.read(FAILURE_BYTES).decode("utf-8", "replace")[:FAILURE_CHARACTERS])


def _is_safe(link: OutputFile) -> bool:
    """Whether a link stays within the archive, as those who extract it want."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), link.link))
    return not posixpath.isabs(link.link) and target != ".." and not target.startswith("../")


def _exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    """A file's bytes, without those that fill a block of tar. Raises JobFailed when it is shorter."""
    left = size
    while left:
        piece = file.read(min(left, 1 << 20))
        if not piece:
            raise upload_failed("a file became shorter while it was read")
        left -= len(piece)
        yield piece


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(COMPRESSION, isal_zlib.DEFLATED, GZIP)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def _words(error: StorageError) -> str:
    return getattr(error, "why", "") or type(error).__name__
