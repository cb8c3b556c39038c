"""Copies model data that is not an archive: objects, for an S3DataSource with CompressionType None."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from emulator.archives.source import ModelSource
from emulator.errors import ArchiveError
from emulator.sizes import format_size
from emulator.storage.errors import InvalidKey
from emulator.storage.keys import path_names


def copy_objects(
    bucket: ModelSource, names: Iterable[tuple[str, str]], directory: Path, *, max_bytes: int, max_files: int
) -> int:
    """Copy objects to ``directory``, which is created. Returns their size in bytes.

    ``names`` are those of each object in the bucket and below the directory. Blocks. Raises ArchiveError for a name
    that cannot be a file's, and when there are too many or too much of them; what the bucket raises.
    """
    directory.mkdir(parents=True)
    total = 0
    for count, (name, path) in enumerate(names, 1):
        try:
            target = directory.joinpath(*path_names(path))
        except InvalidKey as error:
            raise ArchiveError(f"the object {name!r} cannot be a file: {error.why}") from None
        if count > max_files:
            raise ArchiveError(f"there are more than {max_files} objects")
        with bucket.open(name) as (source, _):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise ArchiveError(f"the object {name!r} is a file and a directory at once") from None
        total += target.stat().st_size
        if total > max_bytes:
            raise ArchiveError(f"it takes more than the storage volume has, {format_size(max_bytes)}")
    return total
