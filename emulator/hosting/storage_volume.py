"""The storage volume of an instance: extracted models on disk, least recently used out first."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emulator.archives.extraction import Extracted
from emulator.archives.source import Version
from emulator.clock import Clock
from emulator.errors import ArchiveError
from emulator.events import Events, FaultInjected, ModelDeleted, ModelDownloaded
from emulator.hosting.errors import VolumeFull, archive_unusable
from emulator.hosting.load_progress import LoadProgress
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.pinned_lru import PinnedEntry, PinnedLru, SingleFlight
from emulator.hosting.surroundings import Surroundings
from emulator.limits import Limits

# Unpins a model on the disk, if it can; the argument says why. Returns whether it did.
UnpinOne = Callable[[str], Awaitable[bool]]


@dataclass(eq=False, kw_only=True)
class StoredModel(PinnedEntry):
    """A model on disk. It is pinned while a container has it in memory or is loading it."""

    name: str  # by which the container knows it
    directory: Path
    version: Version  # of the archive that it was extracted from
    retired: str = ""  # why its files are deleted as soon as it is idle


def model_name(target_model: str, generation: int = 0) -> str:
    """The opaque name under which a container knows a model: 32 hexadecimal digits, as on real endpoints."""
    text = f"{target_model}\n{generation}" if generation else target_model
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class StorageVolume:
    """Extracted models, up to ``capacity_bytes``. A new instance starts with none, see ``open``."""

    def __init__(
        self,
        files: ModelFiles,
        capacity_bytes: int,
        limits: Limits,
        events: Events,
        clock: Clock,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self._surroundings = surroundings or Surroundings()
        self.models: PinnedLru[StoredModel] = PinnedLru()
        self._files = files
        self._limits = limits
        self._events = events
        self._clock = clock
        self._downloads: SingleFlight[StoredModel] = SingleFlight(self.models, self._download, self.release)
        self._wanted: dict[str, tuple[UnpinOne, LoadProgress]] = {}  # of downloads that are about to begin
        self._retired_bytes = 0
        # How many versions of a model were retired while in use: each has its own name and directory.
        self._generations: Counter[str] = Counter()
        self._removals: set[asyncio.Task[None]] = set()
        self._extractions: set[asyncio.Future[tuple[Extracted, Version]]] = set()

    @property
    def watch_seconds(self) -> float:
        """How often archives are checked for changes."""
        return self._limits.s3_watch_seconds if self._files.is_remote else self._limits.poll_seconds

    @property
    def used_bytes(self) -> int:
        return self.models.used_bytes + self._retired_bytes

    @property
    def downloading(self) -> list[str]:
        """The target models on their way from S3 to the disk."""
        return list(self._downloads)

    async def open(self) -> None:
        """Delete what an earlier run left."""
        await asyncio.shield(self._delete(self._files.clear()))

    async def fetch(self, target_model: str, unpin_one: UnpinOne, progress: LoadProgress) -> StoredModel:
        """The model on disk, pinned; downloaded and extracted first if it is not there. See ``release``.

        ``unpin_one`` is called repeatedly when there is no room and all that is on disk is in use. ``progress`` is of
        the load that needs it.
        Raises ValidationError (no such archive, or an unusable one) and VolumeFull (no room was made).
        """
        stored = self.models.pin(target_model)
        if stored is None:
            if target_model not in self._downloads:
                self._wanted[target_model] = (unpin_one, progress)
            stored = await self._downloads.join(target_model)
        assert stored is not None
        return stored

    def release(self, stored: StoredModel) -> None:
        """Give back what ``fetch`` returned."""
        self.models.unpin(stored)
        if stored.retired and not stored.pins:
            self._retired_bytes -= stored.size_bytes
            self._remove_soon(stored, stored.retired)

    def retire(self, stored: StoredModel, reason: str) -> None:
        """Delete a model's files as soon as it is idle. A fetch that follows downloads it anew, at once."""
        if self.models.get(stored.target_model) is not stored:
            return
        self.models.remove(stored)
        if stored.pins:
            stored.retired = reason
            self._retired_bytes += stored.size_bytes
            self._generations[stored.target_model] += 1
        else:
            self._remove_soon(stored, reason)

    async def changed(self, stored: Sequence[StoredModel]) -> list[tuple[StoredModel, Version]]:
        """Those whose archive is no longer the one they were extracted from, with its version now.

        One that was deleted is not changed: it is served on, as on SageMaker.
        """
        versions = await self._files.versions([model.target_model for model in stored])
        now = [(model, versions.get(model.target_model, model.version)) for model in stored]
        return [(model, version) for model, version in now if version != model.version]

    async def close(self) -> None:
        """Break off downloads; who waits for a model gets an error. Returns once nothing is written any more."""
        self._files.close()
        self._downloads.abandon(VolumeFull("the instance is being stopped"))
        await asyncio.gather(*self._extractions, *self._removals, return_exceptions=True)

    # In

    async def _download(self, target_model: str) -> StoredModel:
        unpin_one, progress = self._wanted.pop(target_model)
        name = model_name(target_model, self._generations[target_model])
        started = self._clock.elapsed()
        try:
            extracted, version = await self._fetch(target_model, name, unpin_one, progress)
            while self.used_bytes + extracted.size_bytes > self.capacity_bytes:
                progress.enter("make room")
                if not await self._make_room("storage volume full", unpin_one, target_model):
                    raise VolumeFull(
                        f"it takes {extracted.size_bytes} bytes, and models in use take {self.used_bytes} of the "
                        f"{self.capacity_bytes} bytes"
                    )
        except BaseException:
            await self._files.delete(name)
            raise
        progress.enter("wait")
        seconds = self._clock.elapsed() - started
        self._events.publish(
            ModelDownloaded(
                target_model, seconds, extracted.size_bytes, extracted.waited_seconds, extracted.archive_bytes
            )
        )
        directory = self._files.path(name)
        return StoredModel(target_model, extracted.size_bytes, name=name, directory=directory, version=version)

    async def _fetch(
        self, target_model: str, name: str, unpin_one: UnpinOne, progress: LoadProgress
    ) -> tuple[Extracted, Version]:
        while True:
            progress.enter("download")
            try:
                extraction = asyncio.ensure_future(self._files.extract(target_model, name, self.capacity_bytes))
                self._extractions.add(extraction)
                extraction.add_done_callback(self._extractions.discard)
                extracted, version = await asyncio.shield(extraction)
                if (slow := self._surroundings.extra_download_seconds(extracted.archive_bytes)) > 0:
                    effect = f"slowed a download by {slow:.3g} s"
                    self._events.publish(FaultInjected("SlowS3", effect, "until it is cleared", target_model))
                    await asyncio.sleep(slow)
                    extracted = replace(extracted, waited_seconds=extracted.waited_seconds + slow)
                progress.divide("extract", extracted.waited_seconds)  # the bytes come while it is extracted
                return extracted, version
            except ArchiveError as error:
                raise archive_unusable(target_model, str(error)) from None
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
            # The disk below is smaller than the volume claims to be: make room as if the volume were full.
            progress.enter("make room")
            if not await self._make_room("no space left on device", unpin_one, target_model):
                raise VolumeFull(f"no space left on device below {self._files.directory}")

    async def _make_room(self, reason: str, unpin_one: UnpinOne, made_room_for: str) -> bool:
        stored = self.models.pop_idle()
        if stored is None:
            return await unpin_one(reason)
        self._events.publish(ModelDeleted(stored.target_model, reason, made_room_for))
        await self._files.delete(stored.name)
        return True

    # Out

    def _remove_soon(self, stored: StoredModel, reason: str) -> None:
        self._events.publish(ModelDeleted(stored.target_model, reason))
        self._delete(self._files.delete(stored.name))

    def _delete(self, deletion: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a deletion as a task for which ``close`` waits."""
        removal = asyncio.ensure_future(deletion)
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        return removal
