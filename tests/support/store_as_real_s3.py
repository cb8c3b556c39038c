"""A store of objects that stands for real S3, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from emulator.storage.listing import ListingPage
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore, StoredObject


class StoreAsRealS3:
    """A store that stands for real S3."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def region(self, bucket: str) -> str:
        return self.store.region(bucket)

    def entry(self, bucket: str, key: str) -> StoredObject:
        return self.store.entry(bucket, key)

    @contextmanager
    def open(self, bucket: str, key: str) -> Iterator[tuple[BinaryIO, StoredObject]]:
        file, entry = self.store.open(bucket, key)
        with file:
            yield file, entry

    def listing(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
        page = self.store.listing(bucket, prefix, delimiter, after, limit=limit)
        return replace(page, objects=[replace(one, attributes=ObjectAttributes("there")) for one in page.objects])

    def close(self) -> None:
        self.store.close()
