"""The models for the checks: archives, extracted as on an instance, and copies under other names."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.archives.extraction import extract, linked
from emulator.errors import ArchiveError, SetupError
from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB
from emulator.limits import Limits
from emulator.sizes import GIB
from localmme.pack.mistakes import REQUIREMENTS
from localmme.pack.mlflow_model import EXAMPLE

MOST_BYTES = SINGLE_MODEL_GIB * GIB  # of one archive


@dataclass(frozen=True)
class Model:
    """One model on the storage volume."""

    name: str  # like the platform's: 32 hexadecimal digits
    directory: Path  # <models>/<name>/model
    target_model: str  # the caller's name, which is only a header
    archive: Path


class Models:
    """Makes models in the directory that the container sees as /opt/ml/models."""

    def __init__(self, archives: Sequence[Path], volume: Path, originals: Path) -> None:
        """``originals`` is where the archives are extracted, once each; it must be on the file system of ``volume``."""
        self.archives = archives
        self._volume = volume
        self._originals = [originals / str(number) / "model" for number in range(len(archives))]
        self._numbers = itertools.count(1)

    def extract(self) -> None:
        """Extract the archives. Raises SetupError when one cannot be read."""
        self._volume.mkdir(parents=True, exist_ok=True)
        for archive, original in zip(self.archives, self._originals):
            original.parent.mkdir(parents=True)
            try:
                with archive.open("rb") as file:
                    extract(file, original, max_bytes=MOST_BYTES, max_files=Limits().archive_files)
            except ArchiveError as error:
                raise SetupError(f"The model {archive} cannot be extracted: {error}") from None
            except OSError as error:
                raise SetupError(f"The model {archive} cannot be extracted: {error.strerror}.") from None

    def example(self) -> bytes | None:
        """The request that MLflow has saved with the models, if it is the same for all; None if there is none."""
        try:
            [example] = {(original / EXAMPLE).read_bytes() for original in self._originals}
        except (OSError, ValueError):
            return None
        return example

    def with_requirements(self) -> list[str]:
        """The names of the archives that hold a requirements.txt for their handler."""
        pairs = zip(self.archives, self._originals)
        return [archive.name for archive, original in pairs if (original / REQUIREMENTS).exists()]

    def copy(self, archive: int | None = None, name: str = "") -> Model:
        """A further model like that of an archive; in turn, if none is named."""
        number = next(self._numbers)
        model = self._model(number, archive, name)
        # Links, so that many copies take no room.
        shutil.copytree(self._original(number, archive), model.directory, symlinks=True, copy_function=linked)
        return model

    def broken(self) -> Model | None:
        """A model whose files are all empty; None if those of the first archive are so anyway."""
        number = next(self._numbers)
        model = self._model(number, 0, "")
        shutil.copytree(self._original(number, 0), model.directory, symlinks=True)
        paths = (Path(folder, name) for folder, _, names in os.walk(model.directory) for name in names)
        full = [path for path in paths if not path.is_symlink() and path.stat().st_size]
        for path in full:
            os.truncate(path, 0)
        return model if full else None

    def remove(self, model: Model) -> None:
        """Delete it from the volume."""
        shutil.rmtree(model.directory.parent, ignore_errors=True)

    def _original(self, number: int, archive: int | None) -> Path:
        return self._originals[(number if archive is None else archive) % len(self._originals)]

    def _model(self, number: int, archive: int | None, name: str) -> Model:
        name = name or new_name()
        source = self.archives[(number if archive is None else archive) % len(self.archives)]
        stem = source.name.removesuffix(".gz").removesuffix(".tar")
        # Each has a target model of its own, by which Triton identifies models.
        directory = self._volume / name / "model"
        directory.parent.mkdir(parents=True, exist_ok=True)
        return Model(name, directory, f"{stem}-{number}.tar.gz", source)


def new_name() -> str:
    """A name like the platform's."""
    return secrets.token_hex(16)
