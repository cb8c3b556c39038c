"""What all operations of the control plane share: the stored records, the hosted endpoints, ARNs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.aws.arn import sagemaker_arn
from emulator.aws.service_models import shape
from emulator.hosting.endpoints import Endpoints
from emulator.services.sagemaker.definitions import Locate
from emulator.services.sagemaker.errors import already_exists, not_found, not_kept
from emulator.services.sagemaker.mapped_images import NO_MAPPED_IMAGES, MappedImages
from emulator.services.sagemaker.records import KINDS, Kind, Record
from emulator.services.sagemaker.registry import R, Registry

if TYPE_CHECKING:
    from emulator.jobs.jobs import Jobs
    from emulator.storage.read_through import ReadThrough


@dataclass(frozen=True)
class ControlPlane:
    """The control plane's state. Hold ``changing`` while you change it."""

    registry: Registry
    endpoints: Endpoints
    region: str
    directory: Path  # to which paths in Image are relative
    locate: Locate
    instances_of_a_type: int  # the quota
    local_code: bool = True  # whether models created through the API may run code on this machine
    mapped_images: MappedImages = NO_MAPPED_IMAGES
    s3_root: Path | None = None  # the directory that stands for S3
    read_through: ReadThrough | None = None  # what that directory lacks
    jobs: Callable[[], Awaitable[Jobs]] | None = None  # None = no S3, without which there are no jobs
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def arn(self, kind: Kind, name: str) -> str:
        return sagemaker_arn(self.region, kind, name)

    def arn_of(self, record: Record) -> str:
        return self.arn(record.kind, record.name)

    def get(self, kind: type[R], name: str) -> R:
        """The record of that kind and name. Raises AwsError when it does not exist."""
        record = self.registry.get(kind, name)
        if record is None:
            raise not_found(kind.kind, self.arn(kind.kind, name))
        return record

    def by_arn(self, arn: str) -> Record | None:
        """The record with that ARN; None if there is no such record."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        record = self.registry.get(KINDS[kind], name) if kind in KINDS else None
        return record if record is not None and self.arn_of(record) == arn else None

    async def create(self, record: R) -> R:
        """Store a new record, with the tags of its request. ``refuse_existing`` has checked its name.

        Raises AwsError when it cannot be stored.
        """
        record.tags = {tag["Key"]: tag["Value"] for tag in record.arguments.get("Tags", ())}
        await self.keep(record)
        return record

    def refuse_existing(self, kind: type[Record], name: str) -> None:
        """Raises AwsError when a record of that kind and name exists."""
        if self.registry.get(kind, name) is not None:
            raise already_exists(kind.kind, self.arn(kind.kind, name))

    async def keep(self, record: Record) -> None:
        """Store a new or changed record. Raises AwsError when it cannot be written."""
        await self._write(self.registry.put, record)

    async def unstore(self, record: Record) -> None:
        """Remove a record from the disk, but not from memory. Raises AwsError when that cannot be written."""
        await self._write(self.registry.unstore, record)

    async def delete(self, kind: type[Record], name: str) -> None:
        """Delete a record. Raises AwsError when it does not exist, or when that cannot be written."""
        record = self.get(kind, name)
        await self.unstore(record)
        self.registry.forget(record)

    async def _write(self, write: Callable[[Record], None], record: Record) -> None:
        try:
            await asyncio.to_thread(write, record)
        except sqlite3.Error as error:
            raise not_kept(str(error)) from None


def repeated(request: dict[str, Any], output: str) -> dict[str, Any]:
    """The members of a request that are also members of the answer's shape ``output``."""
    members = shape(output).members
    return {name: value for name, value in request.items() if name in members}
