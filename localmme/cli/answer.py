"""Where the body of an answer goes: to a file, a pipe, or a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from emulator.errors import SetupError
from emulator.printable import printable


def write(pieces: Iterable[bytes], output: str | None, stdout: BinaryIO | None = None) -> None:
    """Write the body to the file ``output``, else to standard output. Raises SetupError."""
    if output:
        try:
            with Path(output).open("wb") as file:
                file.writelines(pieces)
        except OSError as error:
            raise SetupError(f"The answer cannot be written to {output}: {error.strerror}.") from None
        return
    stdout = stdout or sys.stdout.buffer
    if _is_terminal(stdout):  # which would obey control characters
        for line in b"".join(pieces).decode("utf-8", "backslashreplace").splitlines():
            stdout.write(f"{printable(line)}\n".encode())
    else:
        for piece in pieces:
            stdout.write(piece)
            stdout.flush()
    stdout.flush()


def _is_terminal(stdout: BinaryIO) -> bool:
    return stdout.isatty()
