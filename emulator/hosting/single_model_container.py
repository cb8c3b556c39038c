"""A container that hosts one model, which is there before it starts."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.archives.errors import ArchiveUnavailable
from emulator.archives.extraction import extract
from emulator.archives.model_data_url import ModelData
from emulator.archives.source import ModelSource
from emulator.archives.source_selection import is_prefix, source_of_many, source_of_one
from emulator.archives.uncompressed_model_data import copy_objects
from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.containers.container import Container, LogSink
from emulator.containers.contract import INVOCATIONS, ContainerContract
from emulator.errors import ArchiveError, SetupError
from emulator.events import Events
from emulator.hosting.container_supervisor import ContainerSupervisor
from emulator.hosting.errors import model_data_broken, model_data_not_found
from emulator.invocation import Invocation
from emulator.limits import Limits


@dataclass
class OnlyModel:
    """A container's only model."""

    path: str = INVOCATIONS
    target_model: str = ""
    last_used: float = 0.0


class SingleModelContainer(ContainerSupervisor[OnlyModel]):
    """Sends every invocation to ``/invocations``."""

    def __init__(
        self,
        new_container: Callable[[LogSink], Container],
        model_data: ModelData | None,
        compressed: bool,
        directory: Path,
        storage_bytes: int,
        limits: Limits,
        events: Events,
        clock: Clock,
    ) -> None:
        """``directory`` is what the container sees as ``/opt/ml/model``.

        ``model_data`` is an archive to extract there, or objects to copy there if it is not ``compressed``.
        """
        super().__init__(new_container, limits, events, clock)
        self._model = OnlyModel()
        self._model_data = model_data
        self._compressed = compressed
        self._source: tuple[ModelSource, str] | None = None
        if model_data is not None:
            whole = not compressed and is_prefix(model_data)
            self._source = (source_of_many(model_data), "") if whole else source_of_one(model_data)
        self._directory = directory
        self._storage_bytes = storage_bytes
        self._size_bytes = 0
        self._extraction: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Extract the model and start the container. Raises SetupError."""
        self._extraction = asyncio.ensure_future(asyncio.to_thread(self._extract))
        await asyncio.shield(self._extraction)
        await super().start()

    async def stop(self, seconds: float | None = None) -> None:
        if self._source is not None:
            self._source[0].close()
        if self._extraction is not None:  # a thread cannot be stopped: it would write to a disk that is deleted
            await asyncio.gather(self._extraction, return_exceptions=True)
        await super().stop(seconds)

    @property
    def disk_used(self) -> int:
        return self._size_bytes

    def _extract(self) -> None:
        shutil.rmtree(self._directory.parent, ignore_errors=True)
        self._directory.parent.mkdir(parents=True)
        try:
            if self._source is None:
                self._directory.mkdir()
                return
            bucket, name = self._source
            limits = {"max_bytes": self._storage_bytes, "max_files": self._limits.archive_files}
            if not self._compressed:
                names = [(name, name.rpartition("/")[2])] if name else [(each, each) for each in bucket.objects()]
                if not names:
                    raise SetupError(model_data_not_found(self.name, str(self._model_data)))
                self._size_bytes = copy_objects(bucket, names, self._directory, **limits)
                return
            with bucket.open(name) as (archive, _):
                self._size_bytes = extract(archive, self._directory, **limits).size_bytes
        except AwsError as error:
            told = model_data_not_found(self.name, str(self._model_data))
            why = error.__cause__ or (error if isinstance(error, ArchiveUnavailable) else None)
            raise SetupError(f"{told} {why}" if why else told) from None
        except ArchiveError as error:
            raise SetupError(f"{model_data_broken(self.name, str(self._model_data))} {error}") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SetupError(
                    f"There is no space left below {self._directory} for the model of {self.name}. "
                    "Free some, or name another place with --state-dir."
                ) from None
            raise

    async def _check_health(self, contract: ContainerContract) -> None:
        await contract.ping()

    def _pin(self, invocation: Invocation) -> OnlyModel:
        return self._model
