"""Checkpoints: what S3 has of an earlier run is there when a job starts, and what it writes is stored in S3. [dg]"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from emulator.archives.model_data_url import S3Url
from emulator.containers.output_files import OutputFile
from emulator.jobs.artifacts import Artifacts
from emulator.jobs.role_access import RoleAccess
from emulator.storage.errors import InvalidKey, NoSuchKey
from emulator.storage.keys import path_names
from emulator.storage.object_store import ObjectStore

# [ours] Seconds in which a file can change twice without a new time: engines say whole ones, and clocks differ a bit.
TIME_STEP = 2


class Checkpoints:
    """Those of one job. All methods block."""

    def __init__(self, store: ObjectStore, access: RoleAccess, artifacts: Artifacts, url: S3Url) -> None:
        self._store, self._access, self._artifacts = store, access, artifacts
        self._url = url if url.is_folder else S3Url(url.bucket, f"{url.key}/")
        self._stored: dict[str, tuple[float, int]] = {}  # by name, what tells one version from the next

    def restore(self, directory: Path) -> None:
        """Copy the objects to a directory. Raises OSError, StorageError, JobFailed."""
        self._access.check_list(self._url.bucket, self._url.key)
        after = ""
        while True:
            listed = self._store.listing(self._url.bucket, self._url.key, after=after)
            for each in listed.objects:
                self._restore(each.key, directory)
            if listed.last is None:
                return
            after = listed.last

    def _restore(self, key: str, directory: Path) -> None:
        name = key.removeprefix(self._url.key)
        self._access.check_read(self._url.bucket, key)
        try:
            path = directory.joinpath(*path_names(name))
            file, _ = self._store.open(self._url.bucket, key)
        except (InvalidKey, NoSuchKey):  # a folder marker, or deleted meanwhile
            return
        with file:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                shutil.copyfileobj(file, target, 1 << 20)
        # Whole seconds: an engine that takes the file in an archive gets no others. Not now: a change is to be seen.
        about = path.stat()
        modified = int(about.st_mtime) - TIME_STEP
        os.utime(path, (modified, modified))
        self._stored[name] = (modified, about.st_size)

    def store(self, files: Iterable[OutputFile]) -> None:
        """Store the files that have changed since the last call. Raises JobFailed."""
        self._artifacts.store_each(self._changed(files), self._url)

    def _changed(self, files: Iterable[OutputFile]) -> Iterator[OutputFile]:
        settled = time.time() - TIME_STEP  # the times of files that have another one once they change again
        for file in files:
            version = (file.modified, file.size)
            if file.kind == "file" and self._stored.get(file.name) != version:
                yield file
                if file.modified < settled:
                    self._stored[file.name] = version
