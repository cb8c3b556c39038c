"""What all operations of the control plane work on: what was created, what is hosted, and how names become ARNs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.aws.arn import sagemaker_arn
from emulator.aws.service_models import shape
from emulator.hosting.endpoints import Endpoints
from emulator.services.sagemaker.definitions import Locate
from emulator.services.sagemaker.errors import already_exists, not_found, not_kept
from emulator.services.sagemaker.records import KINDS, Kind, Record
from emulator.services.sagemaker.registry import R, Registry


@dataclass(frozen=True)
class ControlPlane:
    """The control plane's state. Who changes it holds ``changing``."""

    registry: Registry
    endpoints: Endpoints
    region: str
    directory: Path  # which paths in Image are relative to
    locate: Locate
    instances_of_a_type: int  # the quota
    local_code: bool = True  # whether models that are created through the API may run something on this machine
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def arn(self, kind: Kind, name: str) -> str:
        return sagemaker_arn(self.region, kind, name)

    def arn_of(self, record: Record) -> str:
        return self.arn(record.kind, record.name)

    def get(self, kind: type[R], name: str) -> R:
        """Raises ControlPlaneError when there is none."""
        record = self.registry.get(kind, name)
        if record is None:
            raise not_found(kind.kind, self.arn(kind.kind, name))
        return record

    def by_arn(self, arn: str) -> Record | None:
        """The record with that ARN."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        record = self.registry.get(KINDS[kind], name) if kind in KINDS else None
        return record if record is not None and self.arn_of(record) == arn else None

    async def create(self, record: R) -> R:
        """Keep a new record, with the tags of its call, under a name that ``refuse_existing`` let pass.

        Raises as ``keep``.
        """
        record.tags = {tag["Key"]: tag["Value"] for tag in record.arguments.get("Tags", ())}
        await self.keep(record)
        return record

    def refuse_existing(self, kind: type[Record], name: str) -> None:
        """Raises ControlPlaneError when there is one of that name."""
        if self.registry.get(kind, name) is not None:
            raise already_exists(kind.kind, self.arn(kind.kind, name))

    async def keep(self, record: Record) -> None:
        """Keep a new record, or what has changed of one. Raises ControlPlaneError when the disk does not take it."""
        await self._write(self.registry.put, record)

    async def unstore(self, record: Record) -> None:
        """Let a record not survive a restart. Raises as ``keep``."""
        await self._write(self.registry.unstore, record)

    async def delete(self, kind: type[Record], name: str) -> None:
        """Raises ControlPlaneError when there is none of that name."""
        record = self.get(kind, name)
        await self.unstore(record)
        self.registry.forget(record)

    async def _write(self, write: Callable[[Record], None], record: Record) -> None:
        try:
            await asyncio.to_thread(write, record)
        except sqlite3.Error as error:
            raise not_kept(str(error)) from None


def repeated(request: dict[str, Any], output: str) -> dict[str, Any]:
    """The members of a request that an answer of the shape ``output`` repeats."""
    members = shape(output).members
    return {name: value for name, value in request.items() if name in members}
