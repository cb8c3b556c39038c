"""Files that the notebook writes; those of its own are in a private directory, which is removed with the kernel."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
from pathlib import Path
from typing import IO

from emulator.errors import SetupError
from emulator.state_directory import StateDirectory
from localmme import state_directories


class PrivateFiles:
    """Files of the notebook, by name. Their directory is made for the first one; they outlive each emulator."""

    def __init__(self) -> None:
        self._directory: StateDirectory | None = None
        self._owner: IO[str] | None = None  # its lock: after a killed kernel, the directory counts as abandoned
        self._program = os.getpid()

    def path(self, name: str, file: str) -> Path:
        """Where a file of that handler is, or is to be. A directory for each: one that changes reloads no other.

        Raises SetupError when no directory can be made.
        """
        if self._directory is None:
            self._directory, self._owner = state_directories.make_temporary()
            atexit.register(self.discard)
        directory = self._directory.path / name
        directory.mkdir(exist_ok=True)
        return directory / file

    def discard(self) -> None:
        """Remove all of them. In a process forked from the kernel, it does nothing."""
        if self._directory is not None and self._owner is not None and os.getpid() == self._program:
            self._directory.remove()
            self._owner.close()
            self._directory = None
            atexit.unregister(self.discard)


def write(path: Path, content: str | bytes) -> None:
    """Write a file at once: whoever reads it finds the old content or the new one. Raises SetupError."""
    path = path.resolve()  # a link stays one
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, new)
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from None
