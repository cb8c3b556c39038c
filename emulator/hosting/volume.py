"""The storage volume of an instance: extracted models on disk, least recently used out first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emulator.artifacts.archive import extract
from emulator.artifacts.bucket import LocalBucket, Version
from emulator.errors import ArchiveError, VolumeFull, archive_unusable
from emulator.events import Events, ModelDeleted, ModelDownloaded
from emulator.hosting.residents import Resident, Residents
from emulator.limits import Limits


@dataclass(eq=False, kw_only=True)
class StoredModel(Resident):
    """A model on disk. It is pinned while a container has it in memory or is loading it."""

    directory: Path
    version: Version  # of the archive that it was extracted from


def model_name(target_model: str) -> str:
    """The opaque name under which a container knows a model: 32 hexadecimal digits, as on real endpoints."""
    return hashlib.blake2b(target_model.encode(), digest_size=16).hexdigest()


class StorageVolume:
    """Extracted models below ``directory``, each at ``<model name>/model``, up to ``capacity_bytes``.

    Opening a volume empties its directory: a new instance starts with nothing on disk, and what an
    emulator that was killed left half written is gone.
    """

    def __init__(
        self, directory: Path, capacity_bytes: int, bucket: LocalBucket, limits: Limits, events: Events
    ) -> None:
        self.directory = directory
        self.capacity_bytes = capacity_bytes
        self.models: Residents[StoredModel] = Residents()
        self._bucket = bucket
        self._limits = limits
        self._events = events
        self._discarded = itertools.count()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)

    async def fetch(self, target_model: str) -> StoredModel:
        """The model on disk, pinned; downloaded and extracted first if it is not there.

        The caller must see to it that one model is not fetched twice at once. Raises ValidationError
        (no such archive, or an unusable one) and VolumeFull (all that is on disk is in use).
        """
        stored = self.models.pin(target_model)
        if stored is not None:
            return stored
        archive, version = self._bucket.locate(target_model), self._bucket.version(target_model)
        directory = self.directory / model_name(target_model) / "model"
        directory.parent.mkdir(exist_ok=True)
        started = time.perf_counter()
        try:
            extracted = await asyncio.to_thread(
                extract, archive, directory, max_bytes=self.capacity_bytes, max_files=self._limits.archive_files
            )
        except ArchiveError as error:
            await self._delete_directory(directory.parent)
            raise archive_unusable(target_model, str(error)) from None
        except OSError as error:
            await self._delete_directory(directory.parent)
            if error.errno != errno.ENOSPC:
                raise
            # The disk below is smaller than the volume claims to be: make room as if the volume were full.
            if not await self._delete_least_recently_used("no space left on device"):
                raise VolumeFull(f"no space left on device below {self.directory}") from None
            return await self.fetch(target_model)
        while self.models.used_bytes + extracted.size_bytes > self.capacity_bytes:
            if not await self._delete_least_recently_used("storage volume full"):
                await self._delete_directory(directory.parent)
                raise VolumeFull(
                    f"it takes {extracted.size_bytes} bytes, of {self.capacity_bytes} bytes "
                    f"{self.models.used_bytes} are taken by models in use"
                )
        stored = StoredModel(target_model, extracted.size_bytes, pins=1, directory=directory, version=version)
        self.models.add(stored)
        self._events.publish(ModelDownloaded(target_model, time.perf_counter() - started, extracted.size_bytes))
        return stored

    async def delete(self, stored: StoredModel, reason: str) -> None:
        """Take a model off the disk, whoever has it pinned. A fetch that follows downloads it anew."""
        self.models.remove(stored)
        await self._delete_directory(stored.directory.parent)
        self._events.publish(ModelDeleted(stored.target_model, reason))

    def changed(self, stored: Iterable[StoredModel]) -> list[tuple[StoredModel, Version]]:
        """Those whose archive is no longer the one they were extracted from, with its version now.

        One that was deleted is not changed: it is served on, as on SageMaker.
        """
        changes = []
        for model in stored:
            with contextlib.suppress(Exception):
                version = self._bucket.version(model.target_model)
                if version != model.version:
                    changes.append((model, version))
        return changes

    async def _delete_least_recently_used(self, reason: str) -> bool:
        stored = self.models.pop_idle()
        if stored is None:
            return False
        await self._delete_directory(stored.directory.parent)
        self._events.publish(ModelDeleted(stored.target_model, reason))
        return True

    async def _delete_directory(self, directory: Path) -> None:
        # Out of the way at once, so that the same model can be fetched again meanwhile.
        discarded = self.directory / f".deleted-{next(self._discarded)}"
        with contextlib.suppress(FileNotFoundError):
            directory.rename(discarded)
            await asyncio.to_thread(shutil.rmtree, discarded, ignore_errors=True)
