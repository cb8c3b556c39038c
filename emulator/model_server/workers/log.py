"""What a worker says in the log: each message in one write, so that the lines of several workers do not mix."""

from __future__ import annotations

import logging
import os
import sys
import traceback

from emulator.model_server.http.answer import HandlerError

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # all of the server


def start() -> None:
    """Have what the handler prints and logs come out line by line, whatever characters are in it."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    # As in Multi Model Server, a handler's logging.info() is seen without further ado.
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)


def failure(what: str) -> None:
    """Say ``what`` failed, with the traceback of the exception being handled, from where the handler's code begins."""
    sys.stderr.write(f"{what}\n{of_handler()}")


def of_handler() -> str:
    """The traceback of the exception being handled, without the frames of this server that come first."""
    error = sys.exc_info()[1]
    assert error is not None
    while error.__cause__ is not None and error.__traceback__ is not None and _is_ours_alone(error):
        error = error.__cause__  # what we say of it is said elsewhere
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    if frames is None and isinstance(error, HandlerError):
        return f"{error}\n"  # all that there is to know: none of it happened in the handler's code
    return "".join(traceback.format_exception(type(error), error, frames))


def _is_ours_alone(error: BaseException) -> bool:
    return all(_is_ours(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _is_ours(file: str) -> bool:
    return file.startswith((_HERE, "<frozen importlib"))
