"""The contract of a container that hosts many models: which path and method does what."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from emulator.containers.handler.answer import Answer, Refusal, bad_request, describe, failure
from emulator.containers.handler.connection import Request
from emulator.containers.handler.models import Models

_log = logging.getLogger(__name__)
_PAGE = 100  # models in one answer to GET /models, unless the caller asks for fewer with ?limit=N

Action = Callable[[Request], Awaitable[Answer]]


class Server:
    """Answers requests with what ``models`` do."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def respond(self, request: Request) -> Answer:
        """The answer to any request; never raises."""
        try:
            return await self._action(request)(request)
        except Refusal as refusal:
            return refusal.answer()
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            return failure(describe(error)).answer()

    def _action(self, request: Request) -> Action:
        actions: dict[str, Action]
        match [unquote(part) for part in request.path.split("/")[1:]]:
            case ["ping"]:
                actions = {"GET": _ping}
            case ["models"]:
                actions = {"GET": self._list, "POST": self._load}
            case ["models", name] if name:
                actions = {"GET": lambda _: self._get(name), "DELETE": lambda _: self._unload(name)}
            case ["models", name, "invoke"] if name:
                actions = {"POST": lambda request: self._invoke(name, request)}
            case _:
                raise Refusal(404, "ResourceNotFoundException", f"There is no {request.path} here.")
        if request.method not in actions:
            allowed = ", ".join(actions)
            raise Refusal(405, "MethodNotAllowedException", f"{request.path} takes {allowed}, not {request.method}.")
        return actions[request.method]

    async def _load(self, request: Request) -> Answer:
        try:
            order = json.loads(request.body)
        except ValueError as error:
            raise bad_request(f"The request body is not JSON: {error}") from None
        for key in ("model_name", "url"):
            if not isinstance(order, dict) or not isinstance(order.get(key), str) or not order[key]:
                raise bad_request(f"Parameter {key} is required.")
        await self._models.load(order["model_name"], order["url"])
        return Answer.json({"status": f'Model "{order["model_name"]}" loaded'})

    async def _list(self, request: Request) -> Answer:
        query = parse_qs(request.query)
        after = _name_of(query.get("next_page_token", [""])[0])
        limit = query.get("limit", [str(_PAGE)])[0]
        if not (limit.isdecimal() and int(limit)):
            raise bad_request(f"limit is a number of models, not {limit!r}.")
        models, more = self._models.page(after, min(int(limit), _PAGE))
        listing: dict[str, Any] = {"models": [{"modelName": model.name, "modelUrl": model.url} for model in models]}
        if more:
            listing["nextPageToken"] = _token_of(models[-1].name)
        return Answer.json(listing)

    async def _get(self, name: str) -> Answer:
        model = self._models.get(name)
        return Answer.json({"modelName": model.name, "modelUrl": model.url})

    async def _unload(self, name: str) -> Answer:
        await self._models.unload(name)
        return Answer.json({"status": f'Model "{name}" unloaded'})

    async def _invoke(self, name: str, request: Request) -> Answer:
        request_id = str(uuid.uuid4())
        fields = {"request_id": request_id, "query": request.query, "headers": request.headers}
        answer = await self._models.get(name).invoke(fields, request.body)
        answer.headers.append(("x-request-id", request_id))
        return answer


async def _ping(_: Request) -> Answer:
    return Answer.json({"status": "Healthy"})


# A page's token is the name of the last model before it: that stays meaningful whatever is loaded or unloaded.


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise bad_request(f"{token!r} is no next_page_token of this server.") from None
