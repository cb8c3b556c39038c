"""What the single-model and the multi-model server have in common: routing, and a response to every request."""

from __future__ import annotations

import abc
import logging
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from emulator.model_server.http.callers import check_caller
from emulator.model_server.http.connection import Request
from emulator.model_server.http.response import RequestError, Response, describe, failure
from emulator.model_server.workers.model import Model

_log = logging.getLogger(__name__)

Action = Callable[[Request], Awaitable[Response]]


class Server(abc.ABC):
    """Responds to requests. Each of SageMaker's two contracts has a subclass."""

    async def prepare(self) -> None:  # noqa: B027
        """Called before the server listens. Raises RequestError when it can never serve."""

    def start(self, failed: Callable[[], None]) -> None:  # noqa: B027
        """Called when the server listens. ``failed`` is to be called when it can no longer serve."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Finish invocations under way, and end all workers."""

    @abc.abstractmethod
    def _actions(self, path: list[str]) -> dict[str, Action]:
        """The actions at a path, by method; empty if there is no such path."""

    async def respond(self, request: Request) -> Response:
        """The response to any request; never raises."""
        try:
            check_caller(request)
            return await self._action(request)(request)
        except RequestError as error:
            return error.response()
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            return failure(describe(error)).response()

    def _action(self, request: Request) -> Action:
        actions = self._actions([unquote(part) for part in request.path.split("/")[1:]])
        if not actions:
            raise RequestError(404, "ResourceNotFoundException", f"There is no {request.path} here.")
        if request.method not in actions:
            allowed = ", ".join(actions)
            raise RequestError(
                405, "MethodNotAllowedException", f"{request.path} takes {allowed}, not {request.method}."
            )
        return actions[request.method]


async def ping(_: Request) -> Response:
    """Respond that the server is healthy."""
    return Response.json({"status": "Healthy"})


async def invoke(model: Model, request: Request) -> Response:
    """The model's response. Raises RequestError."""
    request_id = str(uuid.uuid4())
    fields = {"request_id": request_id, "query": request.query, "headers": request.headers}
    response = await model.invoke(fields, request.body)
    response.headers.append(("x-request-id", request_id))
    return response
