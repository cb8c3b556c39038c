"""A container that hosts one model, which is there before it starts."""

from __future__ import annotations

import asyncio
import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from emulator.artifacts.archive import extract
from emulator.containers.base import Container, LogSink
from emulator.containers.contract import INVOCATIONS, ContainerContract, Invocation
from emulator.errors import ArchiveError, SetupError, model_data_not_found
from emulator.events import Events
from emulator.hosting.hosted import HostedContainer, Use
from emulator.limits import Limits


class SingleModelContainer(HostedContainer):
    """Sends every invocation to ``/invocations``."""

    def __init__(
        self,
        new_container: Callable[[LogSink], Container],
        archive: Path | None,
        directory: Path,
        storage_bytes: int,
        limits: Limits,
        events: Events,
        log: LogSink,
    ) -> None:
        """``directory`` is what the container sees as ``/opt/ml/model``; ``archive`` is extracted there, if any."""
        super().__init__(new_container, limits, events, log)
        self._archive = archive
        self._directory = directory
        self._storage_bytes = storage_bytes
        self._size_bytes = 0

    async def start(self) -> None:
        """Extract the model and start the container. Raises SetupError."""
        await asyncio.to_thread(self._extract)
        await super().start()

    def _extract(self) -> None:
        shutil.rmtree(self._directory.parent, ignore_errors=True)
        self._directory.parent.mkdir(parents=True)
        try:
            if self._archive is None:
                self._directory.mkdir()
            else:
                extracted = extract(
                    self._archive,
                    self._directory,
                    max_bytes=self._storage_bytes,
                    max_files=self._limits.archive_files,
                )
                self._size_bytes = extracted.size_bytes
        except ArchiveError as error:
            raise SetupError(f"The model archive {self._archive} of {self.name} cannot be extracted: {error}") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SetupError(
                    f"There is no space left below {self._directory} for the model of {self.name}. "
                    "Free some, or name another place with --state-dir."
                ) from None
            raise SetupError(model_data_not_found(self.name, str(self._archive))) from None

    @property
    def disk_used(self) -> int:
        return self._size_bytes

    async def _check_health(self, contract: ContainerContract) -> None:
        await contract.ping()

    async def _begin(self, invocation: Invocation, deadline: float) -> Use:
        now = time.perf_counter()
        return Use(self._contract, INVOCATIONS, "", invocation.spent, True, now, now)
