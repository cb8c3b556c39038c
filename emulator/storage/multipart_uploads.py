"""Multipart uploads: parts wait beside the buckets until they are put together. They survive a restart, as S3's do."""

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
    """One that was begun; ``attributes`` are those the object will have."""

    id: str
    bucket: str
    key: str
    started_ns: int
    attributes: ObjectAttributes
    algorithm: str  # of its checksums; empty if there are none
    checksum_type: str


@dataclass(frozen=True)
class UploadedPart:
    """One that has arrived."""

    number: int
    etag: str
    size: int
    mtime_ns: int
    checksums: dict[str, str]
    file: str


@dataclass(frozen=True)
class RequestedPart:
    """A part as the caller names it to complete the upload."""

    number: int
    etag: str
    checksums: dict[str, str] = field(default_factory=dict)


class MultipartUploads:
    """The uploads of one store. Blocking, as the store is."""

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
        """In S3's order: by key, then by time. Raises NoSuchBucket."""
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
        """The part has arrived; it replaces an earlier one of its number. Raises NoSuchUpload if there is no upload."""
        directory = self._directory(upload)
        file = f"{number:05d}-{incoming.path.name}"
        part = UploadedPart(number, incoming.digests.md5.hex(), incoming.size, incoming.stamp(), values, file)
        directory.mkdir(parents=True, exist_ok=True)
        incoming.moved_to(directory / file)
        with self._records.together():
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
        asked: Sequence[RequestedPart],
        whole: dict[str, str],
        condition: WriteCondition | None = None,
    ) -> StoredObject:
        """The object, made of these parts. ``whole`` are the checksums that the caller gives for it.

        Raises InvalidPart, InvalidPartOrder, PartTooSmall, ChecksumMismatch, and what committing an object raises.
        """
        parts = self._chosen(upload, asked)
        etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
        values, kind = self._checksums(upload, parts, whole)
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
        """Forget the upload and its parts."""
        with self._records.together():
            self._records.run("delete from parts where upload = ?", upload.id)
            self._records.run("delete from uploads where id = ?", upload.id)
        shutil.rmtree(self._directory(upload), ignore_errors=True)

    def sweep(self) -> None:
        """Remove parts of uploads that are known no more."""
        known = {upload.id for upload in self._select("")}
        with contextlib.suppress(OSError):
            self._records.run("delete from parts where upload not in (select id from uploads)")
        with contextlib.suppress(OSError):
            for name in os.listdir(self._store.parts_directory):
                if name not in known:
                    shutil.rmtree(self._store.parts_directory / name, ignore_errors=True)

    def _chosen(self, upload: MultipartUpload, asked: Sequence[RequestedPart]) -> list[UploadedPart]:
        numbers = [one.number for one in asked]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise InvalidPartOrder(upload.id)
        arrived = {part.number: part for part in self.parts(upload)}
        chosen = []
        for one in asked:
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
        self, upload: MultipartUpload, parts: Sequence[UploadedPart], whole: dict[str, str]
    ) -> tuple[dict[str, str], str]:
        """Of the object that these parts make, and their type."""
        algorithm = upload.algorithm
        if not algorithm:
            return whole, "FULL_OBJECT"
        if upload.checksum_type == "COMPOSITE":
            of_parts = [part.checksums.get(algorithm) for part in parts]
            digest = checksums.new(algorithm)
            if digest is None or None in of_parts:
                return {}, "COMPOSITE"
            for value in of_parts:
                digest.update(checksums.decoded(value or "", checksums.LENGTHS[algorithm]) or b"")
            computed = f"{checksums.encoded(digest.digest())}-{len(parts)}"
            given = whole.get(algorithm)
            if given is not None and given.partition("-")[0] != computed.partition("-")[0]:
                raise ChecksumMismatch(algorithm, given, computed)
            return {algorithm: computed}, "COMPOSITE"
        full = checksums.new(algorithm)
        if full is None:
            return whole, "FULL_OBJECT"
        for part in parts:
            with open(self._directory(upload) / part.file, "rb", buffering=0) as file:
                while block := file.read(BLOCK):
                    full.update(block)
        value = checksums.encoded(full.digest())
        if whole.get(algorithm, value) != value:
            raise ChecksumMismatch(algorithm, whole[algorithm], value)
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
