"""One port, several services: tells which one a request is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emulator.service.runtime import PREFIX as RUNTIME_PREFIX
from emulator.service.runtime import Receive, Runtime, Scope, Send


class Dispatch:
    """SageMaker Runtime by its path; all else goes to the Flask application behind ``others``."""

    def __init__(self, runtime: Runtime, others: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._runtime = runtime
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(RUNTIME_PREFIX):
            await self._runtime(scope, receive, send)
        else:
            await self._others(scope, receive, send)
