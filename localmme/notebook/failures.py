"""What failed in a handler, as a notebook shows it: the handler's own frames first, and no others."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from emulator.containers.errors import error_message
from emulator.printable import printable_lines
from localmme import emulator_client

LOG_SECONDS = 3.0  # [ours] for the log, which comes by another way than the answer
POLL_SECONDS = 0.02
_BEGINNING = "Traceback (most recent call last):"
_OF_CONTAINER = re.compile(r"  (?:\S+ )?\| ?(.*)")  # a line of a container in the log of serve
_EXCEPTION = re.compile(r"(?:[\w.]*\.)?([A-Za-z_]\w*(?:: .*)?)")  # the last line of a traceback, without the module
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")


class HandlerFailed(Exception):
    """A model's container answered with an error. IPython shows its message, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return printable_lines(str(self), indent="").splitlines()


def failure(error: Any, log: Callable[[], str]) -> HandlerFailed:
    """What SageMaker Runtime's ModelError, a botocore ClientError, reports.

    ``log()`` is what the emulator has logged since the invocation: only some of AWS's containers put the handler's
    traceback into their answer.
    """
    text, message = emulator_client.error_text(error), error_message(error.response.get("OriginalMessage", ""))
    if _BEGINNING in message:
        return HandlerFailed(text[text.index(_BEGINNING) :])
    return HandlerFailed(_logged_frames(message, log) + text)


def _logged_frames(message: str, log: Callable[[], str]) -> str:
    """The traceback of the exception with this message, up to the message; empty if the message is no exception's."""
    if not re.match(r"[A-Za-z_]\w*(: |\Z)", message):
        return ""
    deadline = time.monotonic() + LOG_SECONDS
    while not (found := frames_of(message, log())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def frames_of(message: str, log: str) -> str:
    """The lines of the traceback in the log that ends with this message, without that; empty if it is not there."""
    lines = [found[1] for line in log.splitlines() if (found := _OF_CONTAINER.fullmatch(line))]
    for start in (number for number, line in enumerate(lines) if line == _BEGINNING):
        end = _end(lines, start)
        exception = _EXCEPTION.fullmatch(lines[end]) if end < len(lines) else None
        if exception and message.startswith(exception[1]):
            return "\n".join([*lines[start:end], ""])
    return ""


def _end(lines: Sequence[str], start: int) -> int:
    """Where the exception of a traceback is, or the last one of several that led to each other."""
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line and not line.startswith((" ", _BEGINNING, *_CHAINED)):
            following = next((other for other in lines[number + 1 :] if other), "")
            if not following.startswith(_CHAINED):
                return number
    return len(lines)
