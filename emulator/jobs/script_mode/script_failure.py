"""What the toolkit says when an entry point fails: the error in its output, its exit code and its command."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

KILLED = 137  # the exit code of a shell whose command was killed
# By the names of these, the beginning of an error is recognized in the output.
_NO_ERRORS = (Warning, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, StopAsyncIteration)
_ERRORS = [
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException) and not issubclass(value, _NO_ERRORS)
]
_NAMES = (*_ERRORS, "Invalid requirement", "ResourceExhaustedError", "OutOfRangeError", "InvalidArgumentError")
MOST_LINES = 10_000  # [ours] that are kept of an error
LONGEST_LINE = 10_000  # [ours] characters of a line that are kept


class ErrorLines:
    """The lines of one stream from the first that names an error."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}  # in their order, each once

    def take(self, line: str) -> None:
        """The next line of the stream."""
        if len(self.lines) < MOST_LINES and (self.lines or any(name in line for name in _NAMES)):
            self.lines.setdefault(line[:LONGEST_LINE].strip(" :\n"))


def failure_message(command: Sequence[str], code: int, streams: Sequence[ErrorLines]) -> str:
    """What is written to the file ``failure``. [run] of sagemaker-training 5.1 with ``capture_error``"""
    words = "\n ".join(line for stream in streams for line in stream.lines)
    error = "\n".join(dict.fromkeys(words.split("\n"))).strip()
    more = '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' if code == KILLED else ""
    return f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{error}"{more}\nCommand "{" ".join(command)}"'
