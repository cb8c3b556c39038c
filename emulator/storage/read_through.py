"""Buckets that are read through: what the directory does not have is read from real S3, and kept in the directory.

Nothing is ever written to real S3. What is here is not compared with real S3 again: a write or a deletion is of the
directory only, and what was deleted here is read anew when it is next requested.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from emulator.sizes import format_size
from emulator.storage.errors import BucketExists, NoSuchBucket, NoSuchKey, RealS3Refused, RealS3Unavailable
from emulator.storage.keys import can_be_created, names_of
from emulator.storage.listing import ListingPage, merged
from emulator.storage.object_files import is_bucket, is_object
from emulator.storage.object_store import BLOCK, ObjectStore, StoredObject, open_store

DOWNLOADS = 4  # at a time
END_SECONDS = 2.0  # for which the end waits: one that hangs ends with its process, and the next start clears up

log = logging.getLogger("localmme")
T = TypeVar("T")


class RealS3(Protocol):
    """Real S3, which is only read. All calls block.

    They raise NoSuchBucket, NoSuchKey, RealS3Refused, RealS3Unavailable.
    """

    def region(self, bucket: str) -> str:
        """The region of a bucket."""

    def entry(self, bucket: str, key: str) -> StoredObject:
        """What real S3 knows of an object."""

    def open(self, bucket: str, key: str) -> AbstractContextManager[tuple[BinaryIO, StoredObject]]:
        """An object's data as it comes, and what real S3 knows of it. Reading raises the same errors."""

    def listing(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
        """A page of keys and common prefixes that sort after ``after``; limit <= 1000. It may be shorter."""

    def close(self) -> None:
        """Cancel downloads. One that waits for data ends when its time-out does."""


class ReadThrough:
    """The buckets that are read through, and their downloads: one of each object, however many wait for it."""

    def __init__(self, root: Path, region: str, buckets: Sequence[str], real: RealS3) -> None:
        """``root`` is the directory of buckets, ``region`` the region of those that users make there. ``buckets`` are
        names, in which * and ? are wildcards."""
        self._root, self._region, self._buckets, self._real = root, region, buckets, real
        self._lock = threading.Lock()
        self._store: ObjectStore | None = None
        self._downloads: dict[tuple[str, str], Future[None]] = {}
        self._turns = threading.BoundedSemaphore(DOWNLOADS)
        self._has_ended: Future[Any] = Future()

    def covers(self, bucket: str) -> bool:
        """Whether a bucket of this name is read through: none that S3 or the emulator would not create."""
        return can_be_created(bucket) and any(fnmatch.fnmatchcase(bucket, pattern) for pattern in self._buckets)

    @property
    def store(self) -> ObjectStore:
        """The store of the directory, which is opened once. Raises OSError."""
        with self._lock:
            if self._store is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._store = open_store(self._root, self._region)
            return self._store

    def end(self) -> None:
        """Cancel downloads; from now on, nobody waits for real S3."""
        self._real.close()
        with contextlib.suppress(InvalidStateError):  # ended already
            self._has_ended.set_result(None)

    def close(self) -> None:
        """End, wait for downloads unless they hang, and close the store."""
        self.end()
        with self._lock:
            downloads = list(self._downloads.values())
        wait(downloads, END_SECONDS)
        if self._store is not None:
            self._store.close()

    def bring(self, bucket: str, key: str = "") -> Future[None] | None:
        """Begin to bring an object here, and its bucket; without a key, the bucket. None if nothing is to be brought.

        What real S3 does not have is not brought, without an error. The future raises RealS3Refused,
        RealS3Unavailable, InvalidKey for a key that cannot be a file, and OSError.
        """
        if not self.covers(bucket) or self._is_here(bucket, key):
            return None
        with self._lock:
            download = self._downloads.get((bucket, key))
            if download is None:
                download = self._downloads[bucket, key] = Future()
                threading.Thread(target=self._run, args=(download, bucket, key), daemon=True).start()
            return download

    def bring_bucket(self, bucket: str) -> None:
        """Bring a bucket here, if it is to be brought. Blocks. Raises what ``bring`` says of the future."""
        if (bringing := self.bring(bucket)) is not None:
            self._awaited(bringing)

    def has_object(self, bucket: str, key: str) -> bool:
        """Whether an object exists, here or in real S3. Blocks. Raises RealS3Unavailable."""
        try:
            self.entry(bucket, key)
        except (NoSuchBucket, NoSuchKey):
            return False
        return True

    def entry(self, bucket: str, key: str) -> StoredObject:
        """An object's record, here or in real S3. Blocks. Raises NoSuchBucket, NoSuchKey, RealS3..."""
        try:
            return self.store.entry(bucket, key)
        except (NoSuchBucket, NoSuchKey):
            if not self.covers(bucket):
                raise
            return self._from_real(self._real.entry, bucket, key)

    def entry_there(self, bucket: str, key: str) -> StoredObject | None:
        """The record of an object that only real S3 has, and that may be read. Blocks. Raises RealS3Unavailable."""
        if not self.covers(bucket) or self._is_here(bucket, key):
            return None
        try:
            return self._from_real(self._real.entry, bucket, key)
        except (NoSuchBucket, NoSuchKey, RealS3Refused):
            return None

    def listing(
        self, bucket: str, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> ListingPage:
        """What ``ObjectStore.listing`` returns, with the keys that only real S3 has. Blocks."""
        here = self.store.listing(bucket, prefix, delimiter, after, limit)
        if not limit or not self.covers(bucket):
            return here
        try:
            there = self._from_real(self._real.listing, bucket, prefix, delimiter, after, limit)
            return merged(here, there, limit)
        except NoSuchBucket:  # one of the directory only
            return here

    def objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """All objects with a prefix, here and in real S3. Blocks. Raises NoSuchBucket, RealS3..."""
        self.bring_bucket(bucket)
        after: str | None = ""
        while after is not None:
            page = self.listing(bucket, prefix, after=after)
            yield from self.store.entries(bucket, page)
            after = page.last

    def _from_real(self, call: Callable[..., T], *arguments: str | int) -> T:
        """What a call of real S3 returns, made in a thread for whose end the emulator does not wait."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(call(*arguments))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return self._awaited(answer)

    def _awaited(self, answer: Future[T]) -> T:
        """The result of what real S3 is being asked for. Blocks. Raises RealS3Unavailable when the emulator ends."""
        wait([answer, self._has_ended], return_when=FIRST_COMPLETED)
        if not answer.done():
            raise RealS3Unavailable("The emulator is ending.")
        return answer.result()

    def _is_here(self, bucket: str, key: str) -> bool:
        if not is_bucket(self._root, bucket):
            return False
        if key.endswith("/"):  # its directory may be there without it
            return self.store.entry_if_any(bucket, key) is not None
        return not key or is_object((self._root / bucket).resolve(), key)

    def _run(self, download: Future[None], bucket: str, key: str) -> None:
        try:
            with self._turns:
                self._bring(bucket, key)
        except BaseException as error:
            self._end(bucket, key)
            download.set_exception(error)
        else:
            self._end(bucket, key)
            download.set_result(None)

    def _end(self, bucket: str, key: str) -> None:
        """Whoever wants the object from now on does not wait for this download."""
        with self._lock:
            del self._downloads[bucket, key]

    def _bring(self, bucket: str, key: str) -> None:
        try:
            if not self.store.has_bucket(bucket):
                region = self._real.region(bucket)
                with contextlib.suppress(BucketExists):
                    self.store.create_bucket(bucket, region)
            if key and not self._is_here(bucket, key):
                self._download(bucket, key)
        except (NoSuchBucket, NoSuchKey):
            pass  # the operation that wants it finds out itself

    def _download(self, bucket: str, key: str) -> None:
        names_of(key)
        began = time.monotonic()
        with self._real.open(bucket, key) as (source, entry):
            incoming = self.store.incoming()
            try:
                while block := source.read(BLOCK):
                    incoming.write(block)
                with contextlib.suppress(_Here):
                    self.store.commit(bucket, key, incoming, entry.attributes, _unless_here, entry.version[0])
            finally:
                incoming.discard()
        log.warning(
            "Read s3://%s/%s from real S3, %s in %.1f s. It is kept in %s.",
            bucket, key, format_size(entry.size), time.monotonic() - began, self._root / bucket,
        )  # fmt: skip


class _Here(Exception):
    """The object has been written here while it was downloaded."""


def _unless_here(present: StoredObject | None) -> None:
    if present is not None:
        raise _Here
