"""What a server for one model and one for many have in common: a request finds its action, and is always answered."""

from __future__ import annotations

import abc
import logging
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from emulator.model_server.http.answer import Answer, Refusal, describe, failure
from emulator.model_server.http.callers import check_caller
from emulator.model_server.http.connection import Request
from emulator.model_server.workers.model import Model

_log = logging.getLogger(__name__)

Action = Callable[[Request], Awaitable[Answer]]


class Server(abc.ABC):
    """Answers requests. Below it is one class for each of SageMaker's contracts."""

    async def prepare(self) -> None:  # noqa: B027
        """What comes before the server listens. Raises Refusal when it can never answer."""

    def start(self, failed: Callable[[], None]) -> None:  # noqa: B027
        """Begin, now that requests come. ``failed`` is called when it turns out that they can never be answered."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Finish invocations under way, and end all workers."""

    @abc.abstractmethod
    def _actions(self, path: list[str]) -> dict[str, Action]:
        """What can be done at a path, by method; nothing if there is no such path."""

    async def respond(self, request: Request) -> Answer:
        """The answer to any request; never raises."""
        try:
            check_caller(request)
            return await self._action(request)(request)
        except Refusal as refusal:
            return refusal.answer()
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            return failure(describe(error)).answer()

    def _action(self, request: Request) -> Action:
        actions = self._actions([unquote(part) for part in request.path.split("/")[1:]])
        if not actions:
            raise Refusal(404, "ResourceNotFoundException", f"There is no {request.path} here.")
        if request.method not in actions:
            allowed = ", ".join(actions)
            raise Refusal(405, "MethodNotAllowedException", f"{request.path} takes {allowed}, not {request.method}.")
        return actions[request.method]


async def ping(_: Request) -> Answer:
    """Say that all is well."""
    return Answer.json({"status": "Healthy"})


async def invoke(model: Model, request: Request) -> Answer:
    """The model's answer. Raises Refusal."""
    request_id = str(uuid.uuid4())
    fields = {"request_id": request_id, "query": request.query, "headers": request.headers}
    answer = await model.invoke(fields, request.body)
    answer.headers.append(("x-request-id", request_id))
    return answer
