"""The directory as a store of objects: blocking code, without HTTP.

ROOT/<bucket>/<key>              an object: a plain file, there at once or not at all
ROOT/.localmme/s3.sqlite3        what S3 knows of objects beside their bytes
ROOT/.localmme/incoming/         what is being written
ROOT/.localmme/parts/<upload>/   parts of uploads that are not complete yet
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from emulator.private_files import make_private
from emulator.storage.errors import BucketExists, BucketNotEmpty, InvalidKey, NoSuchBucket, NoSuchKey
from emulator.storage.incoming_file import IncomingFile, next_time_ns, sweep
from emulator.storage.keys import RESERVED, check_new_bucket, names_of
from emulator.storage.listing import DirectoryNames, KeyTree, ListingPage, list_page
from emulator.storage.object_files import KeyPaths, existing, is_bucket, is_spelled_otherwise, open_file
from emulator.storage.object_placement import make_directory, move_to, remove_empty
from emulator.storage.object_records import ObjectAttributes, ObjectRecords, Version, time_of, version_of

BLOCK = 1 << 20
# Files dropped in by hand that are larger get an entity tag from their time and size, so that the first
# listing of a directory of models does not read all of it. SDKs expect no MD5 of files of that size: they
# upload them in parts, and the entity tag of such an object is not an MD5 either.
HASHED_BYTES = 8 << 20

WriteCondition = Callable[["StoredObject | None"], None]
log = logging.getLogger("localmme")


@dataclass(frozen=True)
class Bucket:
    """A directory of objects; ``created_ns`` is in nanoseconds since 1970."""

    name: str
    region: str
    created_ns: int


@dataclass(frozen=True)
class StoredObject:
    """One object, as it was when it was read."""

    key: str
    version: Version
    attributes: ObjectAttributes

    @property
    def modified(self) -> int:
        """Whole seconds since 1970, as S3 reports. Never in the future, even if a clock was wrong once."""
        return min(self.version[0], time.time_ns()) // 1_000_000_000

    @property
    def size(self) -> int:
        return self.version[1]


class ObjectStore:
    """Buckets and objects below one directory. Raises StorageError, and OSError for what the disk refuses."""

    def __init__(self, root: Path, region: str, records: ObjectRecords) -> None:
        """Use ``open_store``."""
        self.root = root
        self._region = region
        self.records = records
        # Held while a file is moved to its place or away from it, which takes microseconds.
        self._moving = threading.RLock()
        self._directory_names = DirectoryNames()
        self.incoming_directory = root / RESERVED / "incoming"
        self.parts_directory = root / RESERVED / "parts"

    def close(self) -> None:
        self.records.close()

    def sweep(self) -> None:
        """Remove the unfinished files of killed emulators, and records of files that no longer exist."""
        sweep(self.incoming_directory)
        for bucket in self.buckets():
            sweep(self.root / bucket.name / RESERVED)
        places: dict[str, KeyPaths | None] = {}
        gone: list[tuple[str, str, Version]] = []
        for bucket_name, key, version in list(self.records.all_versions()):
            if bucket_name not in places:
                there = self.has_bucket(bucket_name)
                places[bucket_name] = KeyPaths(self.root / bucket_name) if there else None
            of_bucket = places[bucket_name]
            found = None
            if of_bucket is not None:
                found = self._marker_version(bucket_name, key) if key.endswith("/") else of_bucket.version(key)
            if found != version:
                gone.append((bucket_name, key, version))
        with contextlib.suppress(OSError), self.records.transaction():
            for one in gone:
                self.records.forget_version(*one)

    # Buckets

    def buckets(self) -> list[Bucket]:
        names = sorted(name for name in os.listdir(self.root) if self.has_bucket(name))
        known = {name: (region, created) for name, region, created in self.records.run("select * from buckets")}
        found = []
        for name in names:
            with contextlib.suppress(OSError):
                made = time_of((self.root / name).stat())
                found.append(Bucket(name, *known.get(name, (self._region, made))))
        return found

    def has_bucket(self, name: str) -> bool:
        return is_bucket(self.root, name)

    def directory(self, bucket: str) -> Path:
        """The bucket's directory, without links. Raises NoSuchBucket."""
        if not self.has_bucket(bucket):
            raise NoSuchBucket(bucket)
        return Path(os.path.realpath(self.root / bucket))

    def region(self, bucket: str) -> str:
        self.directory(bucket)
        rows = self.records.run("select region from buckets where bucket = ?", bucket)
        return rows[0][0] if rows else self._region

    def create_bucket(self, name: str, region: str) -> None:
        """Create a bucket. Raises InvalidBucketName, BucketExists."""
        check_new_bucket(name)
        with self._moving:
            try:
                (self.root / name).mkdir()
            except FileExistsError:
                raise BucketExists(name) from None
            try:
                self.records.run("insert or replace into buckets values (?, ?, ?)", name, region, next_time_ns())
            except OSError:
                (self.root / name).rmdir()
                raise

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket. Raises NoSuchBucket, BucketNotEmpty."""
        with self._moving:
            directory = self.directory(name)
            if self.listing(name, limit=1).objects:
                raise BucketNotEmpty(name)
            try:
                shutil.rmtree(directory / RESERVED, ignore_errors=True)
                # Only empty directories go: what is no object, such as a link to elsewhere, is not S3's to delete.
                remove_empty(directory)
                if (self.root / name).is_symlink():
                    (self.root / name).unlink()
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise BucketNotEmpty(name) from None
                raise
            with self.records.transaction():
                for table in ("buckets", "objects", "uploads"):
                    self.records.run(f"delete from {table} where bucket = ?", name)

    # Reading

    def open(self, bucket: str, key: str) -> tuple[BinaryIO, StoredObject]:
        """The object's open file, which does not change while it is open, and its record. Raises NoSuchKey."""
        directory = self.directory(bucket)
        if key.endswith("/"):
            return open(os.devnull, "rb", buffering=0), self._marker(bucket, key)
        file = open_file(directory, key)
        try:
            return file, self._entry(bucket, key, version_of(os.fstat(file.fileno())), file)
        except BaseException:
            file.close()
            raise

    def entry(self, bucket: str, key: str) -> StoredObject:
        """An object's record. Raises NoSuchKey."""
        file, entry = self.open(bucket, key)
        file.close()
        return entry

    def entry_if_any(self, bucket: str, key: str) -> StoredObject | None:
        try:
            return self.entry(bucket, key)
        except NoSuchKey:
            return None

    def listing(
        self, bucket: str, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> ListingPage:
        """A page of keys and common prefixes that sort after ``after``."""
        tree = KeyTree(self.directory(bucket), lambda key: self._marker_version(bucket, key), self._directory_names)
        return list_page(tree, prefix, delimiter, after, limit)

    def entries(self, bucket: str, listed: ListingPage) -> list[StoredObject]:
        """The listed objects with their records; those deleted since are left out."""
        known = self.records.get_many(bucket, [one.key for one in listed.objects])
        new: list[StoredObject] = []
        entries: list[StoredObject] = []
        places = KeyPaths(self.root / bucket)
        for one in listed.objects:
            attributes = one.attributes or known.get((one.key, one.version))
            if attributes is not None:
                entries.append(StoredObject(one.key, one.version, attributes))
            elif (file := places.open(one.key)) is not None:
                with file:
                    found = os.fstat(file.fileno())
                    version = version_of(found)
                    new.append(StoredObject(one.key, version, ObjectAttributes(_etag_by_hand(file, version))))
                entries.append(new[-1])
        self._remember(bucket, new)
        return entries

    # Writing

    def incoming(self, algorithms: Iterable[str] = ()) -> IncomingFile:
        """A file for the data of a new object, until it is complete."""
        return IncomingFile.create(self.incoming_directory, algorithms)

    def put(self, bucket: str, key: str, pieces: Iterable[bytes]) -> StoredObject:
        """Make an object of these bytes, which nobody sees before they are complete. Raises what ``commit`` raises."""
        incoming = self.incoming()
        try:
            for piece in pieces:
                incoming.write(piece)
            return self.commit(bucket, key, incoming, ObjectAttributes(incoming.digests.md5.hex()))
        finally:
            incoming.discard()

    def commit(
        self,
        bucket: str,
        key: str,
        incoming: IncomingFile,
        attributes: ObjectAttributes,
        condition: WriteCondition | None = None,
        modified_ns: int | None = None,
    ) -> StoredObject:
        """Make the received data an object, modified at that time, in nanoseconds since 1970; None = now.

        ``condition`` is called with the object that it replaces, and raises what keeps it from that.
        Raises NoSuchBucket, and InvalidKey for a key that cannot be a file.
        """
        with self._moving:
            directory = self.directory(bucket)
            if condition is not None:
                condition(self.entry_if_any(bucket, key))
            names = names_of(key)
            place = directory.joinpath(*names)
            if is_spelled_otherwise(directory, names):
                raise InvalidKey(key, "this file system takes it for another key that is there, spelt differently")
            if key.endswith("/"):
                return self._commit_marker(bucket, key, place, incoming, attributes)
            version = (incoming.stamp(modified_ns), incoming.size)
            # Before the file is there: whoever opens it finds its record. The old version's stays until it has gone.
            self.records.put(bucket, key, version, attributes)
            try:
                self._move(bucket, directory, key, place, incoming)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.records.forget_version(bucket, key, version)
                raise
            with contextlib.suppress(OSError):  # the object is there; what it replaced is forgotten at the next start
                self.records.keep_only(bucket, key, version)
            return StoredObject(key, version, attributes)

    def change(self, bucket: str, key: str, tags: dict[str, str]) -> None:
        """Replace an object's tags. Raises NoSuchKey."""
        with self._moving:
            entry = self.entry(bucket, key)
            self.records.put(bucket, key, entry.version, replace(entry.attributes, tags=tags))

    def delete(self, bucket: str, key: str, condition: WriteCondition | None = None) -> None:
        """Delete an object, whether or not it exists."""
        with self._moving:
            directory = self.directory(bucket)
            if condition is not None:
                condition(self.entry_if_any(bucket, key))
            path = existing(directory, key)
            if path is None:
                return
            try:
                if not key.endswith("/"):
                    path.unlink()
            except (FileNotFoundError, IsADirectoryError):
                return
            except OSError:
                if path.is_dir():  # the error of macOS
                    return
                raise
            try:
                self.records.forget(bucket, key)
            except OSError:
                if key.endswith("/"):  # the record is all that there is of a folder marker
                    raise
            self._prune(bucket, directory, path if key.endswith("/") else path.parent)

    # Underneath

    def _entry(self, bucket: str, key: str, version: Version, file: BinaryIO) -> StoredObject:
        attributes = self.records.get(bucket, key, version)
        if attributes is None:
            attributes = ObjectAttributes(_etag_by_hand(file, version))
            self._remember(bucket, [StoredObject(key, version, attributes)])
        return StoredObject(key, version, attributes)

    def _remember(self, bucket: str, entries: list[StoredObject]) -> None:
        """Store computed records, if possible, of the objects that have not changed meanwhile."""
        if not entries:
            return
        with contextlib.suppress(OSError), self._moving, self.records.transaction():
            places = KeyPaths(self.root / bucket)
            for entry in entries:
                if places.version(entry.key) == entry.version:
                    self.records.put(bucket, entry.key, entry.version, entry.attributes)
                    self.records.keep_only(bucket, entry.key, entry.version)

    def _marker_version(self, bucket: str, key: str) -> Version | None:
        versions = self.records.versions(bucket, key)
        if not versions:
            return None
        path = existing(Path(os.path.realpath(self.root / bucket)), key)
        return versions[0] if path is not None and path.is_dir() and not path.is_symlink() else None

    def _marker(self, bucket: str, key: str) -> StoredObject:
        version = self._marker_version(bucket, key)
        attributes = self.records.get(bucket, key, version) if version else None
        if version is None or attributes is None:
            raise NoSuchKey(key)
        return StoredObject(key, version, attributes)

    def _commit_marker(
        self, bucket: str, key: str, place: Path, incoming: IncomingFile, attributes: ObjectAttributes
    ) -> StoredObject:
        if incoming.size:
            raise InvalidKey(key, "it ends with a slash, as folders do, so that it cannot have content")
        make_directory(key, place)
        version = (next_time_ns(), 0)
        self.records.put(bucket, key, version, attributes)
        self.records.keep_only(bucket, key, version)
        incoming.discard()
        return StoredObject(key, version, attributes)

    def _move(self, bucket: str, directory: Path, key: str, place: Path, incoming: IncomingFile) -> None:
        make_directory(key, place.parent)
        if place.is_dir() and not place.is_symlink():
            below = InvalidKey(key, "there are objects below it, so that it is a directory")
            if self.listing(bucket, f"{key}/", limit=1).objects:
                raise below
            try:
                remove_empty(place)
            except OSError:
                raise below from None
        move_to(incoming, directory, place)

    def _prune(self, bucket: str, bucket_directory: Path, directory: Path) -> None:
        """Remove directories that have become empty, as S3 has none; those of folder markers stay."""
        while directory != bucket_directory:
            key = f"{directory.relative_to(bucket_directory).as_posix()}/"
            if self.records.versions(bucket, key):
                return
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent


def _etag_by_hand(file: BinaryIO, version: Version) -> str:
    """The entity tag of a file that was not uploaded through S3."""
    if version[1] > HASHED_BYTES:
        return hashlib.md5("{}:{}".format(*version).encode(), usedforsecurity=False).hexdigest() + "-1"
    digest = hashlib.md5(usedforsecurity=False)
    position = 0
    while block := os.pread(file.fileno(), BLOCK, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()


def open_store(root: Path, region: str) -> ObjectStore:
    """The store of this directory; ``region`` is that of buckets that users make as directories. Blocks."""
    root = root.resolve()
    return ObjectStore(root, region, _open_records(root / RESERVED))


def _open_records(own: Path) -> ObjectRecords:
    file = own / "s3.sqlite3"
    try:
        make_private(own)
        return ObjectRecords.open(file)
    except OSError as error:
        log.warning(
            "%s cannot be used: %s. The metadata, tags and checksums of objects, and multipart uploads, are kept in "
            "memory only, and are lost when the emulator ends.",
            file, error.strerror,
        )  # fmt: skip
        return ObjectRecords.open(None)
