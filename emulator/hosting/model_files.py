"""The files behind a storage volume: archives extracted into directories, and deleted again, all of it in threads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from emulator.archives.extraction import Extracted, extract_from
from emulator.archives.source import ModelSource, Version
from emulator.errors import ArchiveError


class ModelFiles:
    """Models below ``directory``, each at ``<model name>/model``. A simulation hands in another class without files."""

    def __init__(self, directory: Path, source: ModelSource, most_files: int) -> None:
        """``most_files`` is how many members an archive may have."""
        self.directory = directory
        self._source = source
        self._most_files = most_files
        self._discarded = itertools.count()
        self._being_freed: dict[str, asyncio.Future[None]] = {}  # names whose former files are not out of the way yet
        self._next_looks: dict[tuple[str, ...], asyncio.Future[dict[str, Version]]] = {}  # which have not begun
        self._looking = WeakValueDictionary[tuple[str, ...], asyncio.Lock]()  # at the same archives, one at a time

    @property
    def is_remote(self) -> bool:
        """Whether each look at the archives takes its time, and may cost money."""
        return self._source.is_remote

    def path(self, model_name: str) -> Path:
        """Where a model is, or will be."""
        return self.directory / model_name / "model"

    async def clear(self) -> None:
        """Delete all there is: an instance starts with nothing on disk, whatever an emulator that was killed left."""
        await asyncio.to_thread(self._clear)

    async def extract(self, target_model: str, model_name: str, max_bytes: int) -> tuple[Extracted, Version]:
        """Download and extract an archive. A thread cannot be stopped: it goes on when its caller is cancelled.

        Raises AwsError (no such archive), ArchiveError (an unusable one, or of more than ``max_bytes``), OSError.
        """
        if freed := self._being_freed.get(model_name):
            await asyncio.shield(freed)
        return await asyncio.to_thread(self._extract, target_model, self.path(model_name), max_bytes)

    def delete(self, model_name: str) -> Coroutine[Any, Any, None]:
        """Delete a model. From this call on, an extraction under the same name waits until the name is free."""
        discarded = self.directory / f".deleted-{next(self._discarded)}"
        freed = asyncio.ensure_future(asyncio.to_thread(_rename_if_exists, self.directory / model_name, discarded))
        self._being_freed[model_name] = freed
        return self._delete(model_name, freed, discarded)

    async def _delete(self, model_name: str, freed: asyncio.Future[None], discarded: Path) -> None:
        try:
            await asyncio.shield(freed)
        finally:
            if self._being_freed.get(model_name) is freed:
                del self._being_freed[model_name]
        await asyncio.to_thread(shutil.rmtree, discarded, ignore_errors=True)

    async def versions(self, target_models: Iterable[str]) -> dict[str, Version]:
        """The versions of these archives now, of those that can be read.

        A look at an unpacked model of 30,000 files takes 0.2 s of processor time: all callers who come while one is
        under way share the next.
        """
        wanted = tuple(target_models)
        if wanted not in self._next_looks:
            self._next_looks[wanted] = asyncio.ensure_future(self._look(wanted))
        return await asyncio.shield(self._next_looks[wanted])

    async def _look(self, wanted: tuple[str, ...]) -> dict[str, Version]:
        lock = self._looking.setdefault(wanted, asyncio.Lock())
        async with lock:
            del self._next_looks[wanted]
            return await asyncio.to_thread(self._versions, wanted)

    def close(self) -> None:
        """Cancel the downloads under way."""
        self._source.close()

    def _clear(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def _extract(self, target_model: str, directory: Path, max_bytes: int) -> tuple[Extracted, Version]:
        """What has changed while it was read may not be whole, as a file that an editor saves: it is read again."""
        before = self._local_version(target_model)
        try:
            extracted = self._extract_once(target_model, directory, max_bytes)
        except ArchiveError:
            if self._local_version(target_model) == before:
                raise
        else:
            if self._local_version(target_model) == before:
                return extracted
            shutil.rmtree(directory)
        return self._extract_once(target_model, directory, max_bytes)

    def _extract_once(self, target_model: str, directory: Path, max_bytes: int) -> tuple[Extracted, Version]:
        directory.parent.mkdir(exist_ok=True)
        return extract_from(self._source, target_model, directory, max_bytes=max_bytes, max_files=self._most_files)

    def _local_version(self, target_model: str) -> Version | None:
        """None for S3, where an object is read as it was when the download began, and if there is no such archive."""
        return None if self.is_remote else self._versions([target_model]).get(target_model)

    def _versions(self, target_models: Iterable[str]) -> dict[str, Version]:
        versions = {}
        for target_model in target_models:
            with contextlib.suppress(Exception):
                versions[target_model] = self._source.version(target_model)
        return versions


def _rename_if_exists(path: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(target)
