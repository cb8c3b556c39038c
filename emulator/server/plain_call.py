"""Runs an invocation without ASGI and without a task; for uvicorn, it is a request under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from emulator.aws.asgi import ConnectionCut, Headers, Response


class PlainCall:
    """Runs a coroutine at once up to its first wait, and continues it as soon as the awaited future is done.

    Compared with a task, that saves an object and a turn of the event loop. The coroutine may wait for futures and
    tasks. Code that looks for the task in which it runs, such as ``asyncio.timeout``, would find no task.

    Among a connection's cycles it is one that has a response under way: the requests behind it wait for their turn.
    """

    more_body = False  # of the request: it is all there
    message_event = asyncio.Event()  # which nobody waits for
    keep_alive = True
    disconnected = False
    response_complete = False
    is_cut = False  # its connection is to end without an answer
    _is_cancelled = False
    _waits_for: asyncio.Future[Any] | None = None

    def __init__(
        self,
        target: bytes,
        headers: Headers,
        response: Coroutine[Any, Any, Response | None],
        ended: Callable[[PlainCall, Response | None], None],
    ) -> None:
        """``ended`` is called with the response; with None if the call was cancelled or cut before. See ``run``."""
        self.target = target
        self.headers = headers
        self._coroutine = response
        self._ended = ended

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits."""
        if self._waits_for is None or not self._waits_for.cancel():
            self._is_cancelled = True  # it is about to go on

    def run(self, _: object = None) -> None:
        """Go on, as far as it can."""
        try:
            if self._is_cancelled:
                self._is_cancelled = False
                waits_for = self._coroutine.throw(asyncio.CancelledError())
            else:
                waits_for = self._coroutine.send(None)
        except StopIteration as end:
            self._ended(self, end.value)
        except asyncio.CancelledError:
            self._ended(self, None)
        except ConnectionCut:
            self.is_cut = True
            self._ended(self, None)
        else:
            self._waits_for = waits_for
            if waits_for is None:  # asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(self.run)
            else:
                waits_for.add_done_callback(self.run)
