"""What failed in a handler, as a notebook shows it: the handler's own frames first, and no others."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import emulator
from emulator.containers.errors import error_message
from emulator.hosting.errors import MODEL_ERROR_CHARACTERS
from emulator.printable import printable_lines
from localmme import emulator_client

LOG_SECONDS = 3.0  # [ours] for the log, which comes by another way than the answer
POLL_SECONDS = 0.02
_BEGINNING = "Traceback (most recent call last):"
_OF_CONTAINER = re.compile(r"(?:[\d:]{8} )?  (?:\S+ )?\| ?(.*)")  # a line of a container in the log of serve
_SERVER_FRAMES = ('  File "<frozen runpy>', f'  File "{os.path.dirname(emulator.__file__)}{os.sep}')
_ENDED = "died: exit code 1"  # of a worker that an exception has ended: Python writes its traceback
_EXCEPTION = re.compile(r"(?:[\w.]*\.)?([A-Za-z_]\w*(?:: .*)?)")  # the last line of a traceback, without the module
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")


class HandlerFailed(Exception):
    """A model's container answered with an error. IPython shows its message, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return printable_lines(str(self), indent="").splitlines()


def failure(error: Any, log: Callable[[], str]) -> HandlerFailed:
    """What SageMaker Runtime's ModelError, a botocore ClientError, reports.

    ``log()`` is what the emulator has logged since the invocation: only some of AWS's containers put the handler's
    traceback into their answer, and none the whole of a long one.
    """
    original = error.response.get("OriginalMessage", "")
    text, message = emulator_client.error_text(error), error_message(original)
    is_cut = len(original) >= MODEL_ERROR_CHARACTERS
    if (is_cut or not original or message.endswith(_ENDED)) and (
        logged := _awaited(lambda log: last_traceback(log, with_rest=is_cut), log)
    ):
        return HandlerFailed(f"{logged}\n{'' if is_cut else text}".rstrip())
    if _BEGINNING in message:
        return HandlerFailed(text[text.index(_BEGINNING) :])
    is_exception = re.match(r"[A-Za-z_]\w*(: |\Z)", message)
    return HandlerFailed((_awaited(lambda log: frames_of(message, log), log) if is_exception else "") + text)


def _awaited(part: Callable[[str], str], log: Callable[[], str]) -> str:
    """A part of the log, when it has come; empty if it does not."""
    deadline = time.monotonic() + LOG_SECONDS
    while not (found := part(log())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def frames_of(message: str, log: str) -> str:
    """The lines of the traceback in the log that ends with this message, without that; empty if it is not there."""
    lines = _container_lines(log)
    for start, end in _tracebacks(lines):
        exception = _EXCEPTION.fullmatch(lines[end])
        if exception and message.startswith(exception[1]):
            return "\n".join([*lines[start:end], ""])
    return ""


def last_traceback(log: str, *, with_rest: bool) -> str:
    """The last traceback in the log, with its exception and without the model server's frames; empty if there is none.

    ``with_rest`` is with the lines after it, which a long message has.
    """
    lines = _container_lines(log)
    for start, end in [*_tracebacks(lines)][-1:]:
        server = [number for number in range(start, end) if lines[number].startswith(_SERVER_FRAMES)]
        frames = range(server[-1] + 1 if server else start + 1, end)
        first = next((number for number in frames if lines[number].startswith("  File ")), end)
        return "\n".join([_BEGINNING, *lines[first : None if with_rest else end + 1]])
    return ""


def _container_lines(log: str) -> list[str]:
    return [found[1] for line in log.splitlines() if (found := _OF_CONTAINER.fullmatch(line))]


def _tracebacks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each traceback begins, and where its exception is; those that led to each other are one."""
    end = -1
    for start in (number for number, line in enumerate(lines) if line == _BEGINNING):
        if start > end and (end := _end(lines, start)) < len(lines):
            yield start, end


def _end(lines: Sequence[str], start: int) -> int:
    """Where the exception of a traceback is, or the last one of several that led to each other."""
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line and not line.startswith((" ", _BEGINNING, *_CHAINED)):
            following = next((other for other in lines[number + 1 :] if other), "")
            if not following.startswith(_CHAINED):
                return number
    return len(lines)
