"""A worker's log: each message is one write, so that the lines of several workers do not mix."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from emulator.model_server.handlers.imports import library_directories
from emulator.model_server.http.response import HandlerError

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # the model server's own code

# Called with each exception that is logged, and its frames: for a process whose user looks on.
debugger: Callable[[BaseException, TracebackType | None], None] | None = None


def start() -> None:
    """Write what the handler prints and logs line by line, whatever characters are in it."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    # As in Multi Model Server, a handler's logging.info() is seen without configuration.
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)


def failure(message: str) -> None:
    """Log what failed, with the traceback of the exception being handled, without the server's own frames."""
    sys.stderr.write(f"{message}\n{handler_traceback()}")
    if debugger is not None:
        debugger(*_handlers_own(sys.exc_info()[1]))


def handler_traceback() -> str:
    """The traceback of the exception being handled, without the server's own frames at its beginning."""
    error, frames = _handlers_own(sys.exc_info()[1])
    if frames is None and isinstance(error, HandlerError):
        return f"{error}\n"  # it did not happen in the handler's code
    return "".join(traceback.format_exception(type(error), error, frames))


def place_of(error: BaseException) -> str:
    """The last of the frames of an exception that are the handler's own, libraries' apart; empty if there is none.

    It begins with a space, as it follows the exception's text. A SyntaxError's text has the place already.
    """
    if isinstance(error, SyntaxError):
        return ""
    libraries = library_directories()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        if os.path.isabs(code.co_filename) and not code.co_filename.startswith((_HERE, *libraries)):
            return f" ({os.path.basename(code.co_filename)}, line {line}, in {code.co_name})"
    return ""


def _handlers_own(error: BaseException | None) -> tuple[BaseException, TracebackType | None]:
    """The exception that the handler's code raised, and its frames from the handler's first."""
    assert error is not None
    while error.__cause__ is not None and error.__traceback__ is not None and _handlers_frames(error) is None:
        error = error.__cause__  # the server's own message is logged elsewhere
    return error, _handlers_frames(error)


def _handlers_frames(error: BaseException) -> TracebackType | None:
    """Without the server's own frames, and those before them, which called the server."""
    first = error.__traceback__
    while first is not None and not first.tb_frame.f_code.co_filename.startswith(_HERE):
        first = first.tb_next
    frames = first or error.__traceback__
    while frames is not None and is_server_code(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def is_server_code(file: str) -> bool:
    """Whether a file is one of the model server's own, or Python's import system."""
    return file.startswith((_HERE, "<frozen importlib"))
