"""Multipart uploads: parts are stored beside the buckets until they are joined. They survive a restart, as in S3."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emulator.storage import checksums
from emulator.storage.errors import ChecksumMismatch, InvalidPart, InvalidPartOrder, NoSuchUpload, PartTooSmall
from emulator.storage.incoming_file import IncomingFile, next_time_ns
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import BLOCK, ObjectStore, StoredObject, WriteCondition

PART_BYTES = 5 << 20  # [api] of each part but the last one, at least
PARTS = 10_000  # [api] of one upload


@dataclass(frozen=True)
class MultipartUpload:
    """A multipart upload under way; ``attributes`` are those of the future object."""

    id: str
    bucket: str
    key: str
    started_ns: int
    attributes: ObjectAttributes
    algorithm: str  # of its checksums; empty = no checksums
    checksum_type: str


@dataclass(frozen=True)
class UploadedPart:
    """A part that has been uploaded."""

    number: int
    etag: str
    size: int
    mtime_ns: int
    checksums: dict[str, str]
    file: str


@dataclass(frozen=True)
class RequestedPart:
    """A part that the caller lists when it completes the upload."""

    number: int
    etag: str
    checksums: dict[str, str] = field(default_factory=dict)


class MultipartUploads:
    """The uploads of one store. All methods block."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._records = store.records

    def create(self, bucket: str, key: str, attributes: ObjectAttributes, algorithm: str, checksum_type: str) -> str:
        """The id of a new upload."""
        upload_id = secrets.token_urlsafe(48)
        self._records.run(
            "insert into uploads values (?, ?, ?, ?, ?, ?, ?)",
            upload_id, bucket, key, next_time_ns(), attributes.dumped(), algorithm, checksum_type,
        )  # fmt: skip
        return upload_id

    def find(self, bucket: str, key: str, upload_id: str) -> MultipartUpload:
        """Raises NoSuchBucket, NoSuchUpload."""
        self._store.directory(bucket)
        found = self._select("where id = ? and bucket = ? and key = ?", upload_id, bucket, key)
        if not found:
            raise NoSuchUpload(upload_id)
        return found[0]

    def of_bucket(self, bucket: str) -> list[MultipartUpload]:
        """The uploads in S3's order: by key, then by time. Raises NoSuchBucket."""
        self._store.directory(bucket)
        return sorted(self._select("where bucket = ?", bucket), key=lambda upload: (upload.key, upload.started_ns))

    def parts(self, upload: MultipartUpload) -> list[UploadedPart]:
        rows = self._records.run(
            "select number, etag, size, mtime_ns, checksums, file from parts where upload = ? order by number",
            upload.id,
        )
        found = []
        for number, etag, size, mtime_ns, text, file in rows:
            with contextlib.suppress(ValueError):
                found.append(UploadedPart(number, etag, size, mtime_ns, json.loads(text), file))
        return found

    def put_part(
        self, upload: MultipartUpload, number: int, incoming: IncomingFile, values: dict[str, str]
    ) -> UploadedPart:
        """Store a part, in place of an earlier one of its number. Raises NoSuchUpload."""
        directory = self._directory(upload)
        file = f"{number:05d}-{incoming.path.name}"
        part = UploadedPart(number, incoming.digests.md5.hex(), incoming.size, incoming.stamp(), values, file)
        directory.mkdir(parents=True, exist_ok=True)
        incoming.moved_to(directory / file)
        with self._records.transaction():
            gone = not self._select("where id = ?", upload.id)  # aborted meanwhile
            replaced = self._records.run("select file from parts where upload = ? and number = ?", upload.id, number)
            if not gone:
                self._records.run(
                    "insert or replace into parts values (?, ?, ?, ?, ?, ?, ?)",
                    upload.id, number, part.etag, part.size, part.mtime_ns, json.dumps(values), file,
                )  # fmt: skip
        if gone:
            shutil.rmtree(directory, ignore_errors=True)
            raise NoSuchUpload(upload.id)
        for (name,) in replaced:
            with contextlib.suppress(OSError):
                (directory / name).unlink()
        return part

    def complete(
        self,
        upload: MultipartUpload,
        requested: Sequence[RequestedPart],
        expected: dict[str, str],
        condition: WriteCondition | None = None,
    ) -> StoredObject:
        """Make the object of these parts. ``expected`` are the whole object's checksums that the caller states.

        Raises InvalidPart, InvalidPartOrder, PartTooSmall, ChecksumMismatch, and what committing an object raises.
        """
        parts = self._requested_parts(upload, requested)
        etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
        values, kind = self._checksums(upload, parts, expected)
        attributes = replace(
            upload.attributes,
            etag=f"{etag}-{len(parts)}",
            checksums=values,
            checksum_type=kind,
            parts=[part.size for part in parts],
        )
        incoming = self._store.incoming()
        try:
            try:
                for part in parts:
                    with open(self._directory(upload) / part.file, "rb", buffering=0) as file:
                        incoming.append(file, part.size)
            except (FileNotFoundError, EOFError):  # completed or aborted by another call
                raise NoSuchUpload(upload.id) from None
            entry = self._store.commit(upload.bucket, upload.key, incoming, attributes, condition)
        finally:
            incoming.discard()
        with contextlib.suppress(OSError):  # the object is there; what is left of the upload can still be aborted
            self.abort(upload)
        return entry

    def abort(self, upload: MultipartUpload) -> None:
        """Delete the upload and its parts."""
        with self._records.transaction():
            self._records.run("delete from parts where upload = ?", upload.id)
            self._records.run("delete from uploads where id = ?", upload.id)
        shutil.rmtree(self._directory(upload), ignore_errors=True)

    def sweep(self) -> None:
        """Delete the parts of uploads that no longer exist."""
        known = {upload.id for upload in self._select("")}
        with contextlib.suppress(OSError):
            self._records.run("delete from parts where upload not in (select id from uploads)")
        with contextlib.suppress(OSError):
            for name in os.listdir(self._store.parts_directory):
                if name not in known:
                    shutil.rmtree(self._store.parts_directory / name, ignore_errors=True)

    def _requested_parts(self, upload: MultipartUpload, requested: Sequence[RequestedPart]) -> list[UploadedPart]:
        numbers = [one.number for one in requested]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise InvalidPartOrder(upload.id)
        arrived = {part.number: part for part in self.parts(upload)}
        chosen = []
        for one in requested:
            part = arrived.get(one.number)
            if part is None or part.etag != one.etag.strip('"'):
                raise InvalidPart(upload.id, one.number, one.etag)
            for algorithm, value in one.checksums.items():
                if part.checksums.get(algorithm, value) != value:
                    raise InvalidPart(upload.id, one.number, one.etag)
            chosen.append(part)
        for part in chosen[:-1]:
            if part.size < PART_BYTES:
                raise PartTooSmall(part.number, part.etag, part.size, PART_BYTES)
        return chosen

    def _checksums(
        self, upload: MultipartUpload, parts: Sequence[UploadedPart], expected: dict[str, str]
    ) -> tuple[dict[str, str], str]:
        """The checksums of the object made of these parts, and their type."""
        algorithm = upload.algorithm
        if not algorithm:
            return expected, "FULL_OBJECT"
        if upload.checksum_type == "COMPOSITE":
            of_parts = [part.checksums.get(algorithm) for part in parts]
            digest = checksums.new(algorithm)
            if digest is None or None in of_parts:
                return {}, "COMPOSITE"
            for value in of_parts:
                digest.update(checksums.decoded(value or "", checksums.LENGTHS[algorithm]) or b"")
            computed = f"{checksums.encoded(digest.digest())}-{len(parts)}"
            stated = expected.get(algorithm)
            if stated is not None and stated.partition("-")[0] != computed.partition("-")[0]:
                raise ChecksumMismatch(algorithm, stated, computed)
            return {algorithm: computed}, "COMPOSITE"
        full = checksums.new(algorithm)
        if full is None:
            return expected, "FULL_OBJECT"
        for part in parts:
            with open(self._directory(upload) / part.file, "rb", buffering=0) as file:
                while block := file.read(BLOCK):
                    full.update(block)
        value = checksums.encoded(full.digest())
        if expected.get(algorithm, value) != value:
            raise ChecksumMismatch(algorithm, expected[algorithm], value)
        return {algorithm: value}, "FULL_OBJECT"

    def _directory(self, upload: MultipartUpload) -> Path:
        return self._store.parts_directory / upload.id

    def _select(self, where: str, *values: str) -> list[MultipartUpload]:
        rows = self._records.run(f"select * from uploads {where}", *values)
        found = []
        for upload_id, bucket, key, started_ns, text, algorithm, checksum_type in rows:
            with contextlib.suppress(ValueError):
                attributes = ObjectAttributes.loaded(text)
                found.append(MultipartUpload(upload_id, bucket, key, started_ns, attributes, algorithm, checksum_type))
        return found
